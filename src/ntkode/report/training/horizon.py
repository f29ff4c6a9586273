"""The report of experiment=paper/horizon: long horizons, with σ_w = 1 and with σ_w = 1/T."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkode.report.base import Report
from ntkode.report.claims.claims import PAPER, Above, Below, Claim, Claims, Within
from ntkode.report.claims.verdicts import with_verdicts
from ntkode.report.figures.paper_panels import blank, draw_by_size, legend
from ntkode.report.figures.style import GRADIENT_ERROR_FORMULA, frame, styles_of
from ntkode.report.statistics.intervals import GeometricMean, Mean, Statistic
from ntkode.report.statistics.replicates import done_values, of_each
from ntkode.report.tables.comparison import Column
from ntkode.report.tables.labels import numbers
from ntkode.report.tables.medians import median_report
from ntkode.report.training.activation import ACTIVATION, MATCH
from ntkode.report.training.claims import RATE
from ntkode.report.training.columns import (
    ACCURACY_COLUMN,
    GRADIENT_ERROR,
    GRADIENT_ERROR_COLUMN,
    LAMBDA_MIN_COLUMN,
    LOSS_RATIO_COLUMN,
    PREDICTION_GAP_COLUMN,
    RATE_COLUMN,
    SECONDS_COLUMN,
)
from ntkode.results import Status

NAME = "horizon"
HORIZON = "config.model.horizon"
VARIANCE, LAMBDA_MAX = "output/variance.first", "ntk/lambda_max.first"
SCALES = {"none": "σ_w = 1", "horizon": "σ_w = 1/T"}
STABLE = Within(0.5, 2.0)
"""Ratios to the value at the shortest horizon that count as stable."""
FAILURES = (Status.DIVERGED, Status.SOLVER_FAILED)
"""Statuses without a value that are outcomes of the model."""
TINY = 1e-6
"""Smaller ratios count as this one when their distance to 1 is compared."""
MEASURES = (
    Column(VARIANCE, "output variance", "output\nvariance"),
    Column(LAMBDA_MAX, "lambda_max start", "λ_max\nstart"),
    LAMBDA_MIN_COLUMN,
    GRADIENT_ERROR_COLUMN,
    LOSS_RATIO_COLUMN,
    RATE_COLUMN,
    PREDICTION_GAP_COLUMN,
    ACCURACY_COLUMN,
    SECONDS_COLUMN,
)
PANELS = (
    (VARIANCE, "Output variance at initialisation", r"mean of $f(x)^2$"),
    (LAMBDA_MAX, "Largest eigenvalue of the NTK (probe)", r"$\lambda_{\max}(\Theta_0)$"),
    (
        GRADIENT_ERROR,
        "Relative error of the gradient",
        GRADIENT_ERROR_FORMULA,
    ),
    ("loss/ratio", "Training loss at the end", r"$L\,/\,L_0$"),
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The tables `horizon` (one row per run), `horizon_medians` and the verdicts; the figure."""
    scales = runs[MATCH].map(lambda match: SCALES.get(match, match))
    keys = {ACTIVATION: "activation", "scales": "scales", HORIZON: "T", "config.solver.steps": "steps"}
    base = median_report(NAME, runs.assign(scales=scales), keys, MEASURES, figure(runs))
    return with_verdicts(base, claims(runs), runs)


def claims(runs: pd.DataFrame) -> Claims:
    """For each activation: with σ_w = 1/T the horizon has no effect, with σ_w = 1 outputs grow with it."""
    tested: list[Claim] = []
    horizons = numbers(runs, HORIZON).dropna()
    longest = f"T = {horizons.max():g}" if len(horizons) else "the longest T"
    for activation in runs[ACTIVATION].dropna().unique():
        needs = f"runs of {activation} at T = 1 and longer horizons with several seeds"
        scaled, plain = ({ACTIVATION: activation, MATCH: match} for match in ("horizon", "none"))
        variance = "output variance at initialisation / that at the shortest T"
        rate = "decay rate at the end (0 if training failed) / that at the shortest T"
        tested += [
            Claim(
                f"{activation}_variance_scaled",
                f"{activation}, σ_w = 1/T: the output variance stays constant up to {longest}",
                PAPER,
                f"{variance}, the ratio farthest from 1",
                GeometricMean(farthest(numbers, VARIANCE, scaled, math.inf), needs),
                STABLE,
            ),
            Claim(
                f"{activation}_training_scaled",
                f"{activation}, σ_w = 1/T: training converges as fast as at the shortest T, up to {longest}",
                PAPER,
                f"{rate}, the ratio farthest from 1",
                Mean(farthest(done_values, RATE, scaled, 0.0), needs),
                STABLE,
            ),
            Claim(
                f"{activation}_variance_plain",
                f"{activation}, σ_w = 1: the output variance grows with the horizon up to {longest}",
                PAPER,
                f"{variance}, the ratio farthest from 1",
                GeometricMean(farthest(numbers, VARIANCE, plain, math.inf), needs),
                Above(STABLE.most),
            ),
            Claim(
                f"{activation}_lambda_max_plain",
                f"{activation}, σ_w = 1: the NTK's λ_max grows with the horizon up to {longest}",
                PAPER,
                "λ_max at initialisation (probe) / that at the shortest T, the ratio farthest from 1",
                GeometricMean(farthest(numbers, LAMBDA_MAX, plain, math.inf), needs),
                Above(STABLE.most),
            ),
            Claim(
                f"{activation}_training_plain",
                f"{activation}, σ_w = 1: training converges more slowly than at the shortest T, "
                f"up to {longest}",
                PAPER,
                f"{rate}, the ratio farthest from 1",
                Mean(farthest(done_values, RATE, plain, 0.0), needs),
                Below(STABLE.least),
            ),
        ]
    return Claims(NAME, tuple(tested))


def farthest(
    values: Callable[[pd.DataFrame, str], pd.Series], column: str, where: dict[str, object], failed: float
) -> Statistic:
    """The ratio of a column to its value at the shortest horizon; of all horizons, the one farthest from 1.

    Distances to 1 are |log ratio|. NaN without a longer horizon or a positive value at the shortest one.

    Args:
        values: reads a column, either of done runs or of all runs with a value.
        column: the column of the runs.
        where: selects runs, see `ntkode.report.statistics.replicates.select`.
        failed: the ratio of a run that diverged or whose ODE failed.
    """

    def ratio(runs: pd.DataFrame) -> float:
        runs = runs.sort_values(HORIZON)
        outcomes = values(runs, column)
        # Interrupted runs, and failures for other reasons, are not outcomes of the model.
        outcomes = outcomes.mask(outcomes.isna() & runs["status"].isin(FAILURES), failed * outcomes.iloc[0])
        shortest, *longer = outcomes.to_numpy(dtype=float)
        if not longer or not shortest > 0 or np.isnan(longer).any():
            return math.nan
        ratios = np.array(longer) / shortest
        return float(ratios[np.abs(np.log(np.maximum(ratios, TINY))).argmax()])

    return of_each(ratio, where)


def figure(runs: pd.DataFrame) -> Figure:
    """Output variance, λ_max, gradient error and loss against the horizon; dashed lines: σ_w = 1/T.

    Args:
        runs: what `ntkode.results.load` returns.
    """
    picture, panels = blank(2, 2, (10, 7.6))
    done = runs[runs["status"] == Status.DONE]
    styles = styles_of([str(name) for name in runs[ACTIVATION].dropna().unique()])
    lines = {"none": "-", "horizon": (0, (4, 2))}
    for axes, (column, title, ylabel) in zip(panels, PANELS, strict=True):
        for match, line in lines.items():
            selected = done[done[MATCH] == match]
            points = pd.DataFrame(
                {
                    "x": numbers(selected, HORIZON),
                    "y": numbers(selected, column),
                    "name": selected[ACTIVATION],
                }
            )
            draw_by_size(axes, points, styles, ls=line)
        frame(axes, title, ylabel)
    for axes in panels[2:]:
        axes.set_xlabel("horizon $T$")
    scales = [Line2D([], [], color="0.4", ls=line, label=SCALES[match]) for match, line in lines.items()]
    legend(picture, styles, *scales)
    return picture
