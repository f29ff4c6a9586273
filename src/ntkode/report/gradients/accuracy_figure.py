"""The figure of study=gradient_accuracy: the gradient's error against resolution and cost."""

import math
from collections.abc import Mapping
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ntkode.report.figures.style import (
    GRADIENT_ERROR_FORMULA,
    MARKERS,
    Styles,
    blank_figure,
    frame,
    grid,
    say_empty,
    size_ticks,
    styles_of,
)
from ntkode.report.formatting import MISSING, plain
from ntkode.report.gradients.points import START, Group, of_group
from ntkode.report.statistics.power_law import PowerLaw

_TITLE = "Relative error of the gradient at initialisation; its order is minus the slope"
_COSTS = {
    "nfe": ("Evaluations of the field", "forward and backward"),
    "seconds": ("Time of a gradient", "seconds"),
    "memory": ("Memory of a gradient", "MiB"),
}
_XLABELS = {"steps": "steps", "tolerance": "1 / tolerance"}
_DASHES = ("-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 2, 1.5, 2)))
_MOST_COLUMNS = 4
# A fit counts as a power law if its slope and its slope at the end differ by at most this.
_BENDS = 0.25
_PANEL_HEIGHT, _COST_HEIGHT = 4.1, 3.9
_LEGEND: dict[str, Any] = {
    "title": "order (at the two finest)",
    "fontsize": 8,
    "title_fontsize": 8,
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.17),  # below the axis: no corner inside is free
    "frameon": False,
    "handlelength": 1.6,
    "labelspacing": 0.3,
    "columnspacing": 1.2,
}


def gradient_figure(points: pd.DataFrame, laws: Mapping[Group, PowerLaw]) -> Figure:
    """Top: one panel per method, error against resolution with fitted orders. Bottom: error against cost.

    If the order at the two finest resolutions differs from the fit, a line joins the medians instead.

    Colours mark activations; dashes and markers (bottom) mark methods. Light points are seeds, full points
    are medians. Hollow points are errors below the error of the reference or rounding; fits exclude them.

    Args:
        points: see `ntkode.report.gradients.points.gradient_points`.
        laws: the fits at the start, by group.
    """
    points = points[(points["moment"] == START) & (points["y"] > 0)]
    methods = list(dict.fromkeys(points["method"]))
    columns = max(1, min(len(methods), _MOST_COLUMNS if len(methods) != 6 else 3))
    rows = max(1, math.ceil(len(methods) / columns))
    figure = blank_figure(12, _PANEL_HEIGHT * rows + _COST_HEIGHT)
    top, bottom = figure.subfigures(
        2, 1, squeeze=False, height_ratios=[_PANEL_HEIGHT * rows, _COST_HEIGHT]
    ).flat
    top.suptitle(_TITLE, fontsize=13)
    colours = _colours(list(dict.fromkeys(points["activation"])))
    _draw_orders(top, points, laws, colours, (rows, columns))
    _draw_costs(bottom, points, colours, _method_styles(methods))
    return figure


def _draw_orders(
    figure: SubFigure,
    points: pd.DataFrame,
    laws: Mapping[Group, PowerLaw],
    colours: Styles,
    shape: tuple[int, int],
) -> None:
    methods = list(dict.fromkeys(points["method"])) or [""]
    panels = figure.subplots(*shape, sharey=True, squeeze=False)
    for axes, method in zip(panels.flat, methods, strict=False):
        frame(axes, method, GRADIENT_ERROR_FORMULA if axes in panels[:, 0] else "")
        panel_points = points[points["method"] == method]
        if panel_points.empty:
            say_empty(axes)
            continue
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(_XLABELS[panel_points["resolution"].iloc[0]])
        handles = [
            _draw_law(axes, of_group(panel_points, group), law, colours[group.activation], group.activation)
            for group, law in laws.items()
            if group.method == method
        ]
        axes.legend(handles=handles, ncols=max(2, 4 // shape[1]), **_LEGEND)
        if panel_points["resolution"].iloc[0] == "steps":
            size_ticks(axes, sorted(panel_points["x"].unique()))
        grid(axes)
    for axes in panels.flat[len(methods) :]:
        axes.set_axis_off()


def _draw_law(axes: Axes, points: pd.DataFrame, law: PowerLaw, style: dict[str, Any], name: str) -> Line2D:
    for is_known, face in ((True, style["color"]), (False, "white")):
        visible = points[points["known"] == is_known]
        if visible.empty:
            continue
        options: dict[str, Any] = {**style, "linestyle": "", "markerfacecolor": face}
        if visible["seed"].nunique() > 1:
            axes.plot(visible["x"], visible["y"], **options, markersize=3, alpha=0.45)
        median = visible.groupby("x")["y"].median()
        axes.plot(median.index, median, **options, markersize=6, mew=0.9 if face == "white" else 0)
    known = points[points["known"]]
    if abs(law.slope - law.end_slope) <= _BENDS:
        ends = [known["x"].min(), known["x"].max()]
        axes.plot(ends, [law(x) for x in ends], color=style["color"], linewidth=1.3)
    else:  # not a power law: join the medians
        axes.plot(known.groupby("x")["y"].median(), color=style["color"], linewidth=1.3)
    order = MISSING if math.isnan(law.slope) else f"{-law.slope:.1f} ({-law.end_slope:.1f})"
    return Line2D([], [], **style, linewidth=1.3, markersize=5, label=f"{name}  {order}".strip())


def _draw_costs(figure: SubFigure, points: pd.DataFrame, colours: Styles, methods: Styles) -> None:
    panels = figure.subplots(1, len(_COSTS), sharey=True)
    for axes, (column, (title, xlabel)) in zip(panels, _COSTS.items(), strict=True):
        frame(axes, title, GRADIENT_ERROR_FORMULA if column == "nfe" else "")
        axes.set_xlabel(xlabel)
        known = points[points["known"] & (points[column] > 0)]
        if known.empty:
            say_empty(axes)
            continue
        axes.set_xscale("log")
        axes.set_yscale("log")
        for (activation, method), group in known.groupby(["activation", "method"], sort=False):
            medians = group.groupby("x")[[column, "y"]].median()
            options = {**methods[str(method)], "color": colours[str(activation)]["color"]}
            axes.plot(medians[column], medians["y"], **options, linewidth=1.1, markersize=4, alpha=0.85)
        _plain_costs(axes)
        grid(axes)
    handles = [Line2D([], [], color="0.35", **s, markersize=5, label=m) for m, s in methods.items() if m]
    if len(handles) > 1:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False)


def _colours(names: list[str]) -> Styles:
    """Colour and marker by activation; shades of one colour if the activations differ in one number alone."""
    styles = styles_of(names)
    settings = [name.rpartition(", ") for name in names]
    if len(names) > 2 and len({s[0] for s in settings}) == 1 and all("=" in s[2] for s in settings):
        shades = [matplotlib.colormaps["viridis"](0.92 * k / (len(names) - 1)) for k in range(len(names))]
        for style, shade in zip(styles.values(), shades, strict=True):
            style["color"] = matplotlib.colors.to_hex(shade)
    return styles


def _method_styles(names: list[str]) -> Styles:
    """Line style and marker by name of the method."""
    return {
        name: {"linestyle": _DASHES[k % len(_DASHES)], "marker": MARKERS[k % len(MARKERS)]}
        for k, name in enumerate(names)
    }


def _plain_costs(axes: Axes) -> None:
    """Readable tick labels on an axis of costs of any range."""
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 60 * low else (1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
