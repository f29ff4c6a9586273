"""The report of experiment=paper/horizon: long horizons, with σ_w = 1 and with σ_w = 1/T."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Group

from ntkode.report.base import Report
from ntkode.report.claims.claims import PAPER, Above, Below, Claim, Claims, Within
from ntkode.report.claims.verdicts import WithVerdicts
from ntkode.report.figures.paper_panels import blank, draw_by_size, legend, styles_of
from ntkode.report.figures.style import frame
from ntkode.report.statistics.intervals import GeometricMean, Mean, Statistic
from ntkode.report.statistics.replicates import done_values, of_each
from ntkode.report.tables.comparison import Column, comparison, failures
from ntkode.report.tables.labels import numbers
from ntkode.report.tables.medians import medians, shown_medians
from ntkode.report.training.activation import ACTIVATION, MATCH
from ntkode.report.training.claims import RATE
from ntkode.results import Status

NAME = "horizon"
HORIZON = "config.model.horizon"
VARIANCE, LAMBDA_MAX = "output/variance.first", "ntk/lambda_max.first"
SCALES = {"none": "σ_w = 1", "horizon": "σ_w = 1/T"}
STABLE = Within(0.5, 2.0)
"""By which factor a quantity may change from T = 1 on and still count as stable."""
FAILURES = (Status.DIVERGED, Status.SOLVER_FAILED)
"""Ends without a value that say something of the model."""
TINY = 1e-6
"""A ratio that is as far from 1 as any."""
MEASURES = (
    Column(VARIANCE, "output variance", "output\nvariance"),
    Column(LAMBDA_MAX, "lambda_max start", "λ_max\nstart"),
    Column("ntk/lambda_min.first", "lambda_min start", "λ_min\nstart"),
    Column("gradient/relative_error.first", "gradient error start", "gradient\nerror"),
    Column("loss/ratio", "loss ratio", "loss\nL/L₀"),
    Column(RATE, "decay rate", "rate\nat end"),
    Column("loss/prediction_gap", "prediction gap", "gap to\nlinear"),
    Column("accuracy/test", "test accuracy", "test\nacc."),
    Column("cost/run_seconds", "seconds", ""),
)
PANELS = (
    (VARIANCE, "Output variance at initialisation", r"mean of $f(x)^2$"),
    (LAMBDA_MAX, "Largest eigenvalue of the NTK (probe)", r"$\lambda_{\max}(\Theta_0)$"),
    (
        "gradient/relative_error.first",
        "Relative error of the gradient",
        r"$\|g - g_{\mathrm{ref}}\|\,/\,\|g_{\mathrm{ref}}\|$",
    ),
    ("loss/ratio", "Training loss at the end", r"$L\,/\,L_0$"),
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """`horizon.csv`, a row a run; `horizon_medians.csv`; the picture; the verdicts."""
    return WithVerdicts(_numbers, claims(runs))(runs, results_dir)


def claims(runs: pd.DataFrame) -> Claims:
    """On each activation: with σ_w = 1/T nothing changes with the horizon, with σ_w = 1 the output grows."""
    told: list[Claim] = []
    horizons = numbers(runs, HORIZON).dropna()
    longest = f"T = {horizons.max():g}" if len(horizons) else "the longest T"
    for activation in runs[ACTIVATION].dropna().unique():
        needs = f"runs of {activation} at T = 1 and longer horizons with several seeds"
        scaled, plain = ({ACTIVATION: activation, MATCH: match} for match in ("horizon", "none"))
        variance = "output variance at initialisation over that at the shortest T"
        rate = "decay rate at the end (0 where training failed) over that at the shortest T"
        told += [
            Claim(
                f"{activation}_variance_scaled",
                f"{activation}, σ_w = 1/T: the output variance stays what it is, up to {longest}",
                PAPER,
                f"{variance}, farthest from 1",
                GeometricMean(farthest(numbers, VARIANCE, scaled, math.inf), needs),
                STABLE,
            ),
            Claim(
                f"{activation}_training_scaled",
                f"{activation}, σ_w = 1/T: training converges as fast, up to {longest}",
                PAPER,
                f"{rate}, farthest from 1",
                Mean(farthest(done_values, RATE, scaled, 0.0), needs),
                STABLE,
            ),
            Claim(
                f"{activation}_variance_plain",
                f"{activation}, σ_w = 1: the output variance grows with the horizon, up to {longest}",
                PAPER,
                f"{variance}, farthest from 1",
                GeometricMean(farthest(numbers, VARIANCE, plain, math.inf), needs),
                Above(STABLE.most),
            ),
            Claim(
                f"{activation}_lambda_max_plain",
                f"{activation}, σ_w = 1: the NTK's λ_max grows with the horizon, up to {longest}",
                PAPER,
                "λ_max at initialisation (probe) over that at the shortest T, farthest from 1",
                GeometricMean(farthest(numbers, LAMBDA_MAX, plain, math.inf), needs),
                Above(STABLE.most),
            ),
            Claim(
                f"{activation}_training_plain",
                f"{activation}, σ_w = 1: training does not converge as fast, up to {longest}",
                PAPER,
                f"{rate}, farthest from 1",
                Mean(farthest(done_values, RATE, plain, 0.0), needs),
                Below(STABLE.least),
            ),
        ]
    return Claims(NAME, tuple(told))


def farthest(
    values: Callable[[pd.DataFrame, str], pd.Series], column: str, where: dict[str, object], failed: float
) -> Statistic:
    """A column over its value at the shortest horizon, where it is farthest from 1 in either direction.

    Args:
        values: reads a column: of done runs only, or of all that have it.
        column: of the runs.
        where: which runs, as in `ntkode.report.statistics.replicates.chosen`.
        failed: the ratio that stands for a run that diverged, or whose ODE failed, which are outcomes too.
    """

    def ratio(runs: pd.DataFrame) -> float:
        runs = runs.sort_values(HORIZON)
        told = values(runs, column)
        # A run that was interrupted, or fails for want of data, says nothing of the model.
        told = told.mask(told.isna() & runs["status"].isin(FAILURES), failed * told.iloc[0])
        shortest, *longer = told.to_numpy(dtype=float)
        if not longer or not shortest > 0 or np.isnan(longer).any():
            return math.nan
        ratios = np.array(longer) / shortest
        return float(ratios[np.abs(np.log(np.maximum(ratios, TINY))).argmax()])

    return of_each(ratio, where)


def _numbers(runs: pd.DataFrame, results_dir: Path) -> Report:
    table = comparison(runs, MEASURES)
    keys = {ACTIVATION: "activation", MATCH: "scales", HORIZON: "T", "config.solver.steps": "steps"}
    cells = medians(runs, keys, MEASURES)
    cells["scales"] = cells["scales"].map(lambda match: SCALES.get(match, match))
    shown = Group(shown_medians(cells, MEASURES, "medians over seeds"), *failures(table))
    return Report(NAME, {NAME: table, f"{NAME}_medians": cells}, shown, figure(runs))


def figure(runs: pd.DataFrame) -> Figure:
    """Output variance, λ_max, gradient error and loss against the horizon; dashed with σ_w = 1/T.

    Args:
        runs: what `ntkode.results.load` returns.
    """
    picture, panels = blank(2, 2, (10, 7.6))
    done = runs[runs["status"] == Status.DONE]
    styles = styles_of([str(name) for name in runs[ACTIVATION].dropna().unique()])
    lines = {"none": "-", "horizon": (0, (4, 2))}
    for axes, (column, title, ylabel) in zip(panels, PANELS, strict=True):
        for match, line in lines.items():
            own = done[done[MATCH] == match]
            points = pd.DataFrame(
                {"x": numbers(own, HORIZON), "y": numbers(own, column), "name": own[ACTIVATION]}
            )
            draw_by_size(axes, points, styles, ls=line)
        frame(axes, title, ylabel)
    for axes in panels[2:]:
        axes.set_xlabel("horizon $T$")
    scales = [Line2D([], [], color="0.4", ls=line, label=SCALES[match]) for match, line in lines.items()]
    legend(picture, styles, *scales)
    return picture
