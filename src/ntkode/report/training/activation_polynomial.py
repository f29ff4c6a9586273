"""The report of experiment=paper/activation_polynomial: must φ be non-polynomial or only nonlinear?"""

import math
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ntkode.report.base import Report
from ntkode.report.claims.claims import PAPER, Above, Below, Claim, Claims
from ntkode.report.claims.verdicts import with_verdicts
from ntkode.report.figures.paper_panels import blank, draw_curves, finish_losses, legend
from ntkode.report.figures.style import DECAY_RATE_FORMULA, frame, grid, styles_of
from ntkode.report.statistics.intervals import GeometricMean, Mean
from ntkode.report.statistics.replicates import ratio, value
from ntkode.report.tables.comparison import Column
from ntkode.report.tables.labels import numbers
from ntkode.report.tables.medians import median_report
from ntkode.report.training.activation import ACTIVATION
from ntkode.report.training.claims import HISTORY, RATE
from ntkode.report.training.columns import (
    ACCURACY_COLUMN,
    LOSS_RATIO_COLUMN,
    RATE_COLUMN,
    SECONDS_COLUMN,
)
from ntkode.results import Status, load_history

NAME = "activation_polynomial"
RESOLVED = "least lambda_min over resolution"
RATES_RATIO = "rate at end over rate at start"
NONPOLYNOMIAL, POLYNOMIAL, LINEAR = "tanh", "quadratic", "identity"
FLOOR = 1e-6
"""Lower bound of λ_min/resolution in figures and ratios, because λ_min may be exactly zero."""
MEASURES = (
    Column("ntk/lambda_min.min", "least lambda_min", "λ_min\nleast"),
    Column("ntk/resolution.max", "resolution", "resolu-\ntion"),
    LOSS_RATIO_COLUMN,
    Column("loss/decay_rate/0-20", "rate at start", "rate\n0–20"),
    RATE_COLUMN,
    Column(RATES_RATIO, "rates ratio", "end/\nstart"),
    ACCURACY_COLUMN,
    SECONDS_COLUMN,
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The tables `activation_polynomial` (one row per run), medians and verdicts; the figure."""
    history = load_history(results_dir, runs["run_id"], columns=HISTORY)
    runs = with_resolved(runs)
    base = median_report(NAME, runs, {ACTIVATION: "activation"}, MEASURES, figure(runs, history))
    return with_verdicts(base, claims(), runs)


def with_resolved(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with columns `RESOLVED` and `RATES_RATIO`.

    `RESOLVED` is |smallest λ_min in training| / its resolution: below 1 it cannot be distinguished from zero.
    `RATES_RATIO` is the decay rate at the end divided by that of the first 20 steps.
    """
    resolution = numbers(runs, "ntk/resolution.max")
    resolved = numbers(runs, "ntk/lambda_min.min") / resolution.where(resolution > 0, math.nan)
    rates = numbers(runs, RATE) / numbers(runs, "loss/decay_rate/0-20")
    return runs.assign(**{RESOLVED: resolved.abs().clip(lower=FLOOR), RATES_RATIO: rates})


def claims() -> Claims:
    """Claims on λ_min and convergence with a non-polynomial, a polynomial and a linear φ."""

    def resolved(activation: str) -> GeometricMean:
        return GeometricMean(
            value(RESOLVED, {ACTIVATION: activation}), f"runs of {activation} with several seeds"
        )

    quantity = "|least λ_min of the NTK in training| / its resolution"
    both = f"runs of {POLYNOMIAL} and {NONPOLYNOMIAL} with several seeds"
    rates = [value(RATE, {ACTIVATION: name}) for name in (POLYNOMIAL, LINEAR, NONPOLYNOMIAL)]
    return Claims(
        NAME,
        (
            Claim(
                "nonpolynomial_suffices",
                f"A non-polynomial φ ({NONPOLYNOMIAL}) keeps λ_min positive throughout training",
                PAPER,
                quantity,
                resolved(NONPOLYNOMIAL),
                Above(1.0),
            ),
            Claim(
                "linear_is_singular",
                f"A linear φ ({LINEAR}) has a singular NTK if there are more samples than features",
                PAPER,
                quantity,
                resolved(LINEAR),
                Below(1.0),
            ),
            Claim(
                "nonpolynomial_is_necessary",
                f"λ_min is positive for non-polynomial φ only: with a polynomial ({POLYNOMIAL}) it is zero",
                "converse of the paper's theorem, which it does not claim for the ODE",
                quantity,
                resolved(POLYNOMIAL),
                Below(1.0),
            ),
            Claim(
                "polynomial_trains_worse",
                f"A polynomial φ ({POLYNOMIAL}) converges more slowly than a non-polynomial one",
                "converse of the paper's theorem, which it does not claim for the ODE",
                f"decay rate at the end, {POLYNOMIAL} / {NONPOLYNOMIAL}, paired by seed",
                GeometricMean(ratio(rates[0], rates[2]), both),
                Below(1.0),
            ),
            Claim(
                "linear_stalls",
                f"A linear φ ({LINEAR}) stalls: its rate falls to under a quarter of {NONPOLYNOMIAL}'s",
                PAPER,
                f"decay rate at the end, {LINEAR} / {NONPOLYNOMIAL}, paired by seed",
                Mean(ratio(rates[1], rates[2]), both.replace(POLYNOMIAL, LINEAR)),
                Below(0.25),
            ),
        ),
    )


def figure(runs: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Three panels: λ_min/resolution, the loss curves, and the decay rate at the end.

    Args:
        runs: with the columns of `with_resolved`.
        history: what `ntkode.results.load_history` returns for these runs.
    """
    picture, (resolved, losses, rates) = blank(1, 3, (13.5, 4.4))
    done = runs[runs["status"] == Status.DONE]
    places = [str(name) for name in runs[ACTIVATION].dropna().unique()]
    styles = styles_of(places)
    for axes, column in ((resolved, RESOLVED), (rates, RATE)):
        # One name per place, in its middle.
        for place, name in enumerate(places):
            values = numbers(done[done[ACTIVATION] == name], column)
            axes.plot([place] * len(values), values, **styles[name], ls="", alpha=0.6, mew=0)
            if values.notna().any():
                axes.plot(
                    [place - 0.2, place + 0.2], [values.median()] * 2, color=styles[name]["color"], lw=2
                )
        axes.set_yscale("log")
        axes.set_xticks(range(len(places)), places)
        axes.set_xlim(-0.6, len(places) - 0.4)
        grid(axes)
    low = resolved.get_ylim()[0]
    resolved.axhspan(min(low, 0.1), 1, color="0.9", zorder=0)
    resolved.set_ylim(min(low, 0.1), None)
    resolved.annotate(
        "noise: cannot be distinguished from zero", (0.03, 0.03), xycoords="axes fraction", color="0.4"
    )
    frame(
        resolved, "Smallest eigenvalue of the NTK / its resolution", r"$|\min_k\lambda_{\min}|$ / resolution"
    )
    frame(rates, "Decay rate at the end", DECAY_RATE_FORMULA)
    draw_curves(
        losses, history, dict(zip(done["run_id"], done[ACTIVATION], strict=True)), "loss/ratio", styles
    )
    finish_losses(losses)
    legend(picture, styles)
    return picture
