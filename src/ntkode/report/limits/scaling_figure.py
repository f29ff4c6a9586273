"""The picture of a study of a limit: quantities against the size, and the power laws fitted to them."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from ntkode.report.figures.style import COLOURS, MARKERS, frame, grid, say_empty
from ntkode.report.statistics.power_law import PowerLaw
from ntkode.report.tables.comparison import Column

_MOST_IN_A_CORNER = 5


@dataclass(frozen=True)
class Quantity:
    """What falls with the size.

    Attributes:
        column: of the runs.
        name: in tables.
        header: the same over at most two lines.
        title: of its panel.
        ylabel: its formula.
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
    """How a study's cells become slopes.

    Attributes:
        name: of the report's files.
        size: the column of the runs that holds the size.
        size_name: of the size in tables, `width`.
        xlabel: `width $n$`.
        quantities: one a panel, four at most.
        same: further columns that the size determines, which do not tell groups apart.
        others: further measures for the table of runs.
        least: the least size that a law is fitted to, where it is one of large sizes.
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
    """A panel a quantity: points a seed, medians, fitted lines with their slopes, and the reference slope."""
    groups = list(dict.fromkeys(points["group"]))
    beneath = 2.0 if len(groups) >= _MOST_IN_A_CORNER else 0.0
    rows = math.ceil(len(scaling.quantities) / 2)
    figure = Figure(figsize=(10, (7.6 + beneath) * rows / 2), layout="constrained")
    FigureCanvasAgg(figure)  # a canvas of its own: nothing of pyplot's global state
    panels = figure.subplots(rows, 2, sharex=True, squeeze=False).flat
    for axes, quantity in zip(panels, scaling.quantities, strict=False):
        frame(axes, quantity.title, quantity.ylabel)
        own = points[points["quantity"] == quantity.name]
        if own.empty:
            say_empty(axes)
            continue
        draw_panel(axes, own, groups, laws, quantity)
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
    """Points, medians, laws and the reference slope of one quantity, with their legend."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    handles = []
    sizes = sorted(points["x"].unique())
    for number, group in enumerate(groups):
        own, law = points[points["group"] == group], laws.get((quantity.name, group))
        if own.empty or law is None:
            continue
        again, colour = divmod(number, len(COLOURS))
        style: dict[str, Any] = {
            "color": COLOURS[colour],
            "marker": MARKERS[(colour + again) % len(MARKERS)],
        }
        beside = 1.03 ** (number - (len(groups) - 1) / 2)  # so that groups do not hide each other
        axes.plot(own["x"] * beside, own["y"], **style, linestyle="", markersize=3, alpha=0.45, mew=0)
        median = own.groupby("x")["y"].median()
        axes.plot(median.index * beside, median, **style, linestyle="", markersize=6.5, mec="white", mew=0.7)
        ends = [law.least, own["x"].max()]
        axes.plot(ends, [law(x) for x in ends], color=style["color"], linewidth=1.2)
        handles.append(Line2D([], [], **style, linewidth=1.2, markersize=5, label=f"{group}: {law}"))
    handles.append(_reference(axes, points, sizes, quantity.reference))
    _legend(axes, handles)
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    grid(axes)


def _legend(axes: Axes, handles: list[Line2D]) -> None:
    """In a free corner where there are few lines, beneath the panel where they leave none."""
    style: dict[str, Any] = {"frameon": False, "title": "slope"}
    if len(handles) <= _MOST_IN_A_CORNER:
        axes.legend(handles=handles, **style, fontsize=9, title_fontsize=9, loc="best")
    else:
        beneath: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "ncols": 2}
        axes.legend(handles=handles, **style, **beneath, fontsize=8, title_fontsize=8)


def _reference(axes: Axes, points: pd.DataFrame, sizes: list[float], slope: float) -> Line2D:
    """A dashed line of the reference slope, under all points."""
    scale = 0.75 * (points["y"] / points["x"] ** slope).min()
    ends = [sizes[0], sizes[-1]]
    style: dict[str, Any] = {"color": "0.45", "linestyle": (0, (4, 3)), "linewidth": 1}
    axes.plot(ends, [scale * x**slope for x in ends], **style)
    return Line2D([], [], **style, label=f"reference: {slope:g}".replace("-", "−"))
