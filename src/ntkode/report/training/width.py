"""The report of experiment=paper/training_width: convergence, λ_min, drift and test loss by width."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkode.report.base import Report
from ntkode.report.claims.claims import PAPER, Below, Claim, Claims
from ntkode.report.claims.verdicts import with_verdicts
from ntkode.report.figures.paper_panels import blank, draw_by_size, draw_curves, finish_losses, legend
from ntkode.report.figures.style import DECAY_RATE_FORMULA, DRIFT_FORMULA, Styles, frame, styles_of
from ntkode.report.statistics.intervals import Mean
from ntkode.report.statistics.power_law import fit_power_law
from ntkode.report.statistics.replicates import replicate, slope, value
from ntkode.report.tables.comparison import Column
from ntkode.report.tables.labels import numbers
from ntkode.report.tables.medians import median_report
from ntkode.report.training.claims import (
    EXCESS,
    GUARANTEED,
    HISTORY,
    LEAST_SHARE,
    RATE,
    SHARE,
    converges,
    least,
    stays_positive,
    with_ratios,
)
from ntkode.report.training.columns import CONVERGENCE_COLUMNS, TEST_COLUMNS
from ntkode.results import Status, load_history

NAME = "training_width"
WIDTH, ACTIVATION = "config.model.width", "config.choices.activation"
MEASURES = (
    *CONVERGENCE_COLUMNS,
    Column("params/distance", "parameter distance", "param.\ndist."),
    *TEST_COLUMNS,
)
# column → name and statement of the claim, and the largest exponent in the width that it allows
FALLING = {
    "ntk/drift": ("drift", "the NTK's change in training falls at least as fast as n^(−1/2)", -0.5),
    "params/distance": (
        "distance",
        "the parameters' relative distance from initialisation decreases with the width",
        0.0,
    ),
    "loss/prediction_gap": (
        "linearisation",
        "the gap between training and its linearisation decreases with the width",
        0.0,
    ),
}


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The tables `training_width` (one row per run), `training_width_medians` and verdicts; the figure."""
    history = load_history(results_dir, runs["run_id"], columns=HISTORY)
    runs = with_ratios(runs, history)
    keys = {ACTIVATION: "activation", WIDTH: "width"}
    title = "medians over seeds; rates over the last window"
    base = median_report(NAME, runs, keys, MEASURES, figure(runs, history), title)
    return with_verdicts(base, claims(runs), runs)


def claims(runs: pd.DataFrame) -> Claims:
    """Claims on each activation among the runs: convergence, λ_min, drift, distance, linearisation."""
    tested: list[Claim] = []
    widest = numbers(runs, WIDTH).max()
    for activation in runs[ACTIVATION].dropna().unique():
        where = {ACTIVATION: activation}
        several = f"runs of {activation} with several seeds"
        tested.append(converges(activation, f"{activation}: ", least(EXCESS, runs, WIDTH, where), several))
        share = value(SHARE, {**where, WIDTH: widest})
        tested.append(stays_positive(activation, f"{activation}, width {widest:g}: ", share, several))
        tested += [
            Claim(
                f"{activation}_{short}",
                f"{activation}: {statement}",
                PAPER,
                f"exponent of {column} in the width",
                Mean(slope(column, WIDTH, where), f"{several} at two widths or more"),
                Below(bound),
            )
            for column, (short, statement, bound) in FALLING.items()
        ]
    return Claims(NAME, tuple(tested))


def figure(runs: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Loss curves at the smallest and the largest width, rates, λ_min's share, drift, distance, test loss.

    Args:
        runs: with the columns of `with_ratios`.
        history: what `ntkode.results.load_history` returns for these runs.
    """
    picture, panels = blank(2, 3, (13.5, 7.6))
    styles = styles_of([str(name) for name in runs[ACTIVATION].dropna().unique()])
    _draw_losses(panels[0], runs, history, styles)
    done = runs[runs["status"] == Status.DONE]
    points = partial(_points, done)
    if draw_by_size(panels[1], points(RATE), styles):
        draw_by_size(panels[1], points(GUARANTEED), styles, ls=(0, (3, 2)), lw=0.9, markersize=0)
    frame(panels[1], "Decay rate at the end (dashed: guaranteed)", DECAY_RATE_FORMULA)
    if draw_by_size(panels[2], points(SHARE), styles, log=False):
        panels[2].axhline(LEAST_SHARE, color="0.5", ls=(0, (4, 3)), lw=1)
        panels[2].set_ylim(0, None)
    frame(
        panels[2], "Least λ_min in training", r"$\min_k\lambda_{\min}(\Theta_k)\,/\,\lambda_{\min}(\Theta_0)$"
    )
    titles = {
        "ntk/drift": ("Change of the NTK", DRIFT_FORMULA),
        "params/distance": ("Distance of the parameters", r"$\|\theta_k - \theta_0\|\,/\,\|\theta_0\|$"),
    }
    for axes, (column, (title, ylabel)) in zip(panels[3:5], titles.items(), strict=True):
        if draw_by_size(axes, points(column), styles):
            _slopes(axes, done, column, styles)
        frame(axes, title, ylabel)
    draw_by_size(panels[5], points("loss/test"), styles)
    frame(panels[5], "Test loss", "mean loss per sample")
    for axes in panels[1:]:
        axes.set_xlabel("width $n$")
    legend(picture, styles)
    return picture


def _points(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    return pd.DataFrame({"x": numbers(runs, WIDTH), "y": numbers(runs, column), "name": runs[ACTIVATION]})


def _draw_losses(axes: Axes, runs: pd.DataFrame, history: pd.DataFrame, styles: Styles) -> None:
    widths = numbers(runs, WIDTH)
    handles = []
    ends: tuple[tuple[float, Literal["solid", "dashed"]], ...]
    ends = (widths.max(), "solid"), (widths.min(), "dashed")
    for width, line in ends:
        selected = runs[widths == width]
        names = dict(zip(selected["run_id"], selected[ACTIVATION], strict=True))
        draw_curves(axes, history, names, "loss/ratio", styles, linestyle=line)
        handles.append(Line2D([], [], color="0.4", linestyle=line, label=f"width {width:g}"))
    axes.legend(handles=handles, frameon=False, fontsize=9)
    finish_losses(axes)


def _slopes(axes: Axes, runs: pd.DataFrame, column: str, styles: Styles) -> None:
    """A legend with the fitted exponent of each name."""
    handles: Sequence[Line2D] = []
    points = _points(runs, column).assign(seed=replicate(runs))
    for name, style in styles.items():
        fitted = points[(points["name"] == name) & (points["y"] > 0)]
        if fitted["x"].nunique() >= 2:
            handles = [*handles, Line2D([], [], **style, label=f"{fit_power_law(fitted)}")]
    axes.legend(handles=handles, frameon=False, fontsize=9, title="slope", title_fontsize=9)
