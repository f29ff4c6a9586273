"""The figure of a report on a limit: quantities against the size, with the fitted power laws."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkode.report.figures.style import blank_figure, frame, grid, say_empty, size_ticks, styles_of
from ntkode.report.formatting import plain
from ntkode.report.statistics.power_law import PowerLaw
from ntkode.report.tables.comparison import Column

_MOST_IN_A_CORNER = 5


@dataclass(frozen=True)
class Quantity:
    """A quantity that decreases with the size.

    Attributes:
        column: the column of the runs.
        name: the name in stored tables.
        header: the header in terminal tables, of at most two lines.
        title: the title of its panel.
        ylabel: the formula, as label of the vertical axis.
        reference: the exponent to compare with.
    """

    column: str
    name: str
    header: str
    title: str
    ylabel: str
    reference: float


@dataclass(frozen=True)
class Scaling:
    """The size and the quantities of a study of a limit.

    Attributes:
        name: stem of the report's files.
        size: the column of the runs with the size.
        size_name: the name of the size in tables, such as `width`.
        xlabel: the label of the horizontal axis, such as `width $n$`.
        quantities: one per panel, at most four.
        same: further columns that the size determines; they do not define groups.
        others: further columns for the table of runs.
        least: the smallest size of the fit, for laws that hold for large sizes only.
    """

    name: str
    size: str
    size_name: str
    xlabel: str
    quantities: tuple[Quantity, ...]
    same: tuple[str, ...] = ()
    others: tuple[Column, ...] = ()
    least: float = 0.0


def scaling_figure(points: pd.DataFrame, laws: dict[tuple[str, str], PowerLaw], scaling: Scaling) -> Figure:
    """One panel per quantity: points (one per seed), medians, fitted lines and the reference slope."""
    groups = list(dict.fromkeys(points["group"]))
    below = 2.0 if len(groups) >= _MOST_IN_A_CORNER else 0.0
    rows = math.ceil(len(scaling.quantities) / 2)
    figure = blank_figure(10, (7.6 + below) * rows / 2)
    panels = figure.subplots(rows, 2, sharex=True, squeeze=False).flat
    for axes, quantity in zip(panels, scaling.quantities, strict=False):
        frame(axes, quantity.title, quantity.ylabel)
        panel_points = points[points["quantity"] == quantity.name]
        if panel_points.empty:
            say_empty(axes)
            continue
        draw_panel(axes, panel_points, groups, laws, quantity)
    for axes in figure.axes[len(scaling.quantities) :]:
        axes.set_axis_off()
    for axes in figure.axes[-2:]:
        axes.set_xlabel(scaling.xlabel)
    figure.align_ylabels()
    return figure


def draw_panel(
    axes: Axes,
    points: pd.DataFrame,
    groups: list[str],
    laws: dict[tuple[str, str], PowerLaw],
    quantity: Quantity,
) -> None:
    """The points, medians, laws and reference slope of one quantity, with a legend."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    handles = []
    sizes = sorted(points["x"].unique())
    for number, (group, style) in enumerate(styles_of(groups).items()):
        group_points, law = points[points["group"] == group], laws.get((quantity.name, group))
        if group_points.empty or law is None:
            continue
        factor = 1.03 ** (number - (len(groups) - 1) / 2)  # shifted so that groups do not hide each other
        axes.plot(
            group_points["x"] * factor,
            group_points["y"],
            **style,
            linestyle="",
            markersize=3,
            alpha=0.45,
            mew=0,
        )
        median = group_points.groupby("x")["y"].median()
        axes.plot(median.index * factor, median, **style, linestyle="", markersize=6.5, mec="white", mew=0.7)
        ends = [law.least, group_points["x"].max()]
        axes.plot(ends, [law(x) for x in ends], color=style["color"], linewidth=1.2)
        handles.append(Line2D([], [], **style, linewidth=1.2, markersize=5, label=f"{group}: {law}"))
    handles.append(_reference(axes, points, sizes, quantity.reference))
    _legend(axes, handles)
    size_ticks(axes, sizes)
    grid(axes)


def _legend(axes: Axes, handles: list[Line2D]) -> None:
    """A legend inside the panel, or below it if it has many lines."""
    style: dict[str, Any] = {"frameon": False, "title": "slope"}
    if len(handles) <= _MOST_IN_A_CORNER:
        axes.legend(handles=handles, **style, fontsize=9, title_fontsize=9, loc="best")
    else:
        below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "ncols": 2}
        axes.legend(handles=handles, **style, **below, fontsize=8, title_fontsize=8)


def _reference(axes: Axes, points: pd.DataFrame, sizes: list[float], slope: float) -> Line2D:
    """A dashed line with the reference slope, below all points."""
    scale = 0.75 * (points["y"] / points["x"] ** slope).min()
    ends = [sizes[0], sizes[-1]]
    style: dict[str, Any] = {"color": "0.45", "linestyle": (0, (4, 3)), "linewidth": 1}
    axes.plot(ends, [scale * x**slope for x in ends], **style)
    return Line2D([], [], **style, label=f"reference: {plain(slope)}")
