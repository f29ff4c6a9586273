"""The figure of a training sweep of many runs: medians and ranges by setting."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkode.report.figures.style import COLOURS, blank_figure
from ntkode.report.tables.factors import SEEDS, Factor
from ntkode.report.training.curves import LAMBDA_MIN, PANELS, CurvePanel, drawable_rows, finish, floored

LOW, MEDIAN, HIGH = 0.1, 0.5, 0.9
MOST_FACTORS = 3
ALL = Factor("all runs", ["all runs"], [])


def range_figure(history: pd.DataFrame, run_ids: Sequence[str], factors: Sequence[Factor]) -> Figure:
    """Loss, λ_min, gradient error and NTK drift against the training step, one line per value of a setting.

    A line is the median over the runs with that value, and the band around it their 10 to 90 % range. Each
    of the first `MOST_FACTORS` settings, seeds excluded, has a column of panels.

    Args:
        history: what `ntkode.results.load_history` returns.
        run_ids: the runs, in the order of `factors`.
        factors: what `factors_of` returns.
    """
    chosen = [factor for factor in factors if factor.name not in SEEDS][:MOST_FACTORS] or [ALL]
    figure = blank_figure(max(6.0, 4.2 * len(chosen)), 10)
    every = figure.subplots(len(PANELS), len(chosen), sharex=True, sharey="row", squeeze=False)
    for column, factor in zip(every.T, chosen, strict=True):
        value_of = dict(zip(run_ids, factor.of or [0] * len(run_ids), strict=True))
        grouped = history.assign(value=history["run_id"].map(value_of))
        for axes, panel in zip(column, PANELS, strict=True):
            values = floored(grouped, axes) if panel.metric == LAMBDA_MIN else grouped
            drawn = _draw(axes, values, panel)
            finish(axes, panel.title if axes in every[:, 0] else "", panel.ylabel, empty=not drawn)
            if axes not in every[:, 0]:
                axes.set_ylabel("")
        column[-1].set_xlabel("training step")
        _legend(column[0], factor)
    figure.suptitle(f"Median and 10–90 % range of {len(run_ids)} runs", fontsize=11)
    figure.align_ylabels()
    return figure


def _draw(axes: Axes, history: pd.DataFrame, panel: CurvePanel) -> bool:
    """Draw the median and the range of each value; return whether there is anything to draw."""
    if panel.metric not in history:
        return False
    axes.set_yscale(panel.scale)
    drawable = drawable_rows(history, panel.metric, panel.scale)
    metric = drawable[panel.metric].astype(float)
    quantiles = (
        metric.groupby([drawable["value"], drawable["step"]])
        .quantile(np.array([LOW, MEDIAN, HIGH]))
        .unstack()
    )
    for value in sorted(set(quantiles.index.get_level_values("value"))):
        rows = quantiles.loc[value]
        style = _style(value)
        axes.fill_between(rows.index, rows[LOW], rows[HIGH], color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(rows.index, rows[MEDIAN], linewidth=1.5, **style)
    return not quantiles.empty


def _style(value: int) -> dict[str, Any]:
    repeat, colour = divmod(value, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": ("-", "--")[repeat % 2]}


def _legend(axes: Axes, factor: Factor) -> None:
    lines = [Line2D([], [], label=text, **_style(k)) for k, text in enumerate(factor.values)]
    axes.legend(
        handles=lines, title=factor.name, loc="lower center", bbox_to_anchor=(0.5, 1.12), ncols=4,
        frameon=False, fontsize=8, columnspacing=1, handlelength=1.6,
    )  # fmt: skip
