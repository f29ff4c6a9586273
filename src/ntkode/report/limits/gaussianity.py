"""The report of study=gaussianity: how the deviation of the outputs from a Gaussian decreases with width."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from ntkode.report.base import Report
from ntkode.report.claims.claims import PAPER, Above, Below, Claim, Claims, Within
from ntkode.report.claims.verdicts import WithVerdicts
from ntkode.report.limits.gaussianity_figure import AD_RATIO, gaussianity_figure
from ntkode.report.limits.scaling import Quantity, Scaling, fit_all, measurements, scaling_report
from ntkode.report.statistics.intervals import Mean
from ntkode.report.statistics.replicates import at, by_activation, slope
from ntkode.report.tables.comparison import Column

WIDTH = "config.model.width"
ASYMPTOTIC = 16
"""The smallest width of the fits, whose laws hold for large widths."""

SCALING = Scaling(
    name="gaussianity",
    size=WIDTH,
    size_name="width",
    xlabel="width $n$",
    same=("config.choices.width", "config.width"),
    quantities=(
        Quantity(
            "output/excess_kurtosis",
            "excess kurtosis",
            "excess\nkurtosis",
            "Excess kurtosis of an output",
            r"$3\,\mathrm{Var}(q)\,/\,\mathrm{E}[q]^2$",
            -1.0,
        ),
        Quantity(
            "output/limit_distance",
            "distance to the limit's law",
            "distance\nto limit",
            "Law of an output against the limit's",
            r"$\sup_z |P(f \leq z) - \Phi(z/\sqrt{K_\infty})|$",
            -1.0,
        ),
        Quantity(
            "outputs/square_correlation",
            "correlation of squares",
            "corr. of\nsquares",
            "Dependence of two outputs",
            r"$\mathrm{corr}(f_a^2, f_b^2)$",
            -1.0,
        ),
    ),
    others=(
        Column(AD_RATIO, "Anderson–Darling of combinations over its 5 % value", ""),
        Column("output/ad_rejected", "rejected by Anderson–Darling", ""),
        Column("output/ks_rejected", "rejected by Lilliefors", ""),
        Column("output/limit_rejected", "rejected by KS against the limit", ""),
        Column("process/ad_rejected", "combinations rejected", ""),
        Column("outputs/dependence_rejected", "independence rejected", ""),
        Column("output/sample_kurtosis", "sample kurtosis", ""),
        Column("output/variance_error", "variance error", ""),
        Column("outputs/correlation", "correlation", ""),
        Column("cost/run_seconds", "seconds", ""),
    ),
    least=ASYMPTOTIC,
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The tables `gaussianity` and `gaussianity_slopes`, and the figure."""
    base = scaling_report(runs, SCALING)
    points = measurements(runs, SCALING)
    figure = gaussianity_figure(runs, points, fit_all(points, SCALING), SCALING)
    return replace(base, figure=figure)


_GAUSSIAN = f"{PAPER}: outputs converge to a Gaussian process; the rate is the finite-width expansion's"
_DEPENDENCE = "the dependence of two outputs, corr(f_a², f_b²),"
_POWER = "this suite: a test that never rejects would prove nothing"


def _rate(name: str, what: str, column: str, activation: str) -> Claim:
    return Claim(
        f"{name}_{activation}",
        f"{activation}: {what} falls like 1/n",
        _GAUSSIAN,
        f"its exponent in n, n ≥ {ASYMPTOTIC}",
        Mean(
            slope(column, WIDTH, by_activation(activation), least=ASYMPTOTIC),
            f"runs of {activation} at two widths of {ASYMPTOTIC} or more",
        ),
        Within(-1.25, -0.75),
    )


def _test(activation: str, narrow: bool) -> Claim:
    place, said = ("narrowest", "finds") if narrow else ("widest", "finds no")
    return Claim(
        f"{place}_{activation}",
        f"{activation}: at the {place} width, Anderson and Darling's test {said} deviation",
        _POWER if narrow else _GAUSSIAN,
        "A² of combinations of outputs / its 5 % value, mean over combinations",
        Mean(
            at(min if narrow else max, WIDTH, AD_RATIO, by_activation(activation)),
            f"runs of {activation}",
        ),
        Above(1) if narrow else Below(1),
    )


_ACTIVATIONS = ("tanh", "softplus", "relu")
CLAIMS = Claims(
    "gaussianity",
    (
        *(_rate("kurtosis", "the excess kurtosis", "output/excess_kurtosis", p) for p in _ACTIVATIONS),
        *(
            _rate("limit", "the distance to the limit's law", "output/limit_distance", p)
            for p in _ACTIVATIONS
        ),
        *(_rate("independence", _DEPENDENCE, "outputs/square_correlation", p) for p in _ACTIVATIONS),
        *(_test(p, narrow) for narrow in (True, False) for p in _ACTIVATIONS),
    ),
)
paper = WithVerdicts(report, CLAIMS)
