"""The paper's claims about the limits L → ∞ and n → ∞, for study=depth_limit and study=width_limit."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from ntkode.report.base import Report
from ntkode.report.claims.claims import PAPER, Above, Below, Claim, Claims, Within
from ntkode.report.claims.verdicts import WithVerdicts
from ntkode.report.limits import depth_limit, width_limit
from ntkode.report.limits.scaling import scaling_report
from ntkode.report.statistics.intervals import GeometricMean, Mean, Statistic
from ntkode.report.statistics.replicates import by_activation, mean_ratio, slope

_DEPTH, _WIDTH = depth_limit.SCALING.size, width_limit.SCALING.size
_DEPTHS, _WIDTHS = "runs at two depths or more", "runs at two widths or more"
_FIRST_ORDER, _ROOT = Within(-1.1, -0.9), Within(-0.6, -0.4)
_BEYOND = "beyond the paper, whose theory requires smooth activations"
_OUTPUT, _GRADIENT = "output/relative_error", "gradient/discrete_error"
_ADJOINT = "gradient/adjoint_error"
SMOOTH = ("tanh", "softplus")


def _depth_slope(column: str, activation: str) -> Statistic:
    return slope(column, _DEPTH, by_activation(activation), apart=(_WIDTH,))


def _falls(name: str, what: str, column: str, activation: str, source: str) -> Claim:
    return Claim(
        f"{name}_{activation}",
        f"{activation}: {what} falls like 1/L",
        source,
        "its exponent in L, mean over widths",
        Mean(_depth_slope(column, activation), f"{_DEPTHS} of {activation}"),
        _FIRST_ORDER,
    )


def _uniform(name: str, what: str, column: str, activation: str) -> Claim:
    return Claim(
        f"{name}_uniform_{activation}",
        f"{activation}: {what} does not grow with the width",
        f"{PAPER}: the limits of depth and width can be exchanged",
        "its exponent in n, mean over depths",
        Mean(
            slope(column, _WIDTH, by_activation(activation), apart=(_DEPTH,)),
            f"{_WIDTHS} of {activation}",
        ),
        Below(0.25),
    )


_WELL_POSED = f"{PAPER}: smooth activations make forward and backward ODE well posed"

DEPTH_OUTPUT = Claims(
    "depth_output",
    (
        *(_falls("rate", "the output's error", _OUTPUT, phi, _WELL_POSED) for phi in SMOOTH),
        _falls("rate", "the output's error", _OUTPUT, "relu", _BEYOND),
        *(_uniform("output", "the output's error", _OUTPUT, phi) for phi in (*SMOOTH, "relu")),
    ),
)

DEPTH_GRADIENT = Claims(
    "depth_gradient",
    (
        *(
            _falls("discretise", "the error of the ResNet's gradient", _GRADIENT, p, _WELL_POSED)
            for p in SMOOTH
        ),
        *(_falls("adjoint", "the error of the adjoint's gradient", _ADJOINT, p, _WELL_POSED) for p in SMOOTH),
        Claim(
            "slower_relu",
            "relu: the gradient's error falls more slowly than 1/L",
            f"{PAPER}: without smoothness the backward ODE is ill posed; the rate is this suite's",
            "its exponent in L, mean over widths",
            Mean(_depth_slope(_GRADIENT, "relu"), f"{_DEPTHS} of relu"),
            Above(-0.9),
        ),
        Claim(
            "kink_adds",
            "relu's gradient loses more accuracy at finite depth than softplus', relative to the output",
            f"{PAPER}: smoothness is what makes gradients accurate",
            "(gradient error/output error) of relu / that of softplus, mean over depths and widths",
            GeometricMean(
                mean_ratio((_GRADIENT, _OUTPUT), by_activation("relu"), by_activation("softplus")),
                "runs of relu and softplus with the same seeds",
            ),
            Above(1),
        ),
        *(_uniform("gradient", "the gradient's error", _GRADIENT, phi) for phi in SMOOTH),
    ),
)


def _root(column: str, what: str, activation: str) -> Claim:
    smooth = activation in SMOOTH
    return Claim(
        f"rate_{activation}",
        f"{activation}: the {what} converges to its limit like n^(−1/2)",
        f"{PAPER}: convergence for smooth activations; the rate is the law of large numbers'"
        if smooth
        else _BEYOND,
        "exponent in n of the relative distance in ‖·‖_F",
        Mean(slope(column, _WIDTH, by_activation(activation)), f"{_WIDTHS} of {activation}"),
        _ROOT,
    )


WIDTH_NTK = Claims(
    "width_ntk", tuple(_root("ntk/limit_distance.first", "NTK", phi) for phi in (*SMOOTH, "relu"))
)
WIDTH_NNGP = Claims(
    "width_nngp", tuple(_root("nngp/limit_distance.first", "NNGP kernel", phi) for phi in (*SMOOTH, "relu"))
)

# These experiments measure at initialisation only.
_INITIAL = replace(width_limit.SCALING, quantities=width_limit.SCALING.quantities[:2])


def _initial_width_limit(runs: pd.DataFrame, results_dir: Path) -> Report:
    return scaling_report(runs, _INITIAL)


depth_output = WithVerdicts(depth_limit.report, DEPTH_OUTPUT)
depth_gradient = WithVerdicts(depth_limit.report, DEPTH_GRADIENT)
width_ntk = WithVerdicts(_initial_width_limit, WIDTH_NTK)
width_nngp = WithVerdicts(_initial_width_limit, WIDTH_NNGP)
