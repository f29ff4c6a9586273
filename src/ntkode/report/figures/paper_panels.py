"""Panels of the paper studies' pictures: curves by step, points by size, points by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from ntkode.report.figures.style import COLOURS, MARKERS, grid, say_empty

Styles = Mapping[str, dict[str, Any]]


def blank(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, row by row."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)  # a canvas of its own: nothing of pyplot's global state
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def styles_of(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour and a marker a name, in order."""
    return {
        name: {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[(k + k // len(COLOURS)) % len(MARKERS)]}
        for k, name in enumerate(names)
    }


def legend(figure: Figure, styles: Styles, *others: Line2D) -> None:
    """The names above all panels, and what else is drawn."""
    handles = [Line2D([], [], **style, linewidth=1.5, label=name) for name, style in styles.items()]
    handles += others
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 8), frameon=False)


def draw_curves(
    axes: Axes,
    history: pd.DataFrame,
    names: Mapping[str, str],
    column: str,
    styles: Styles,
    *,
    shade: float = 0.15,
    **changes: Any,
) -> bool:
    """Medians over the runs of a name by step, and a band from the least to the greatest, logarithmic.

    Args:
        axes: the panel.
        history: what `ntkode.results.load_history` returns.
        names: the name by run_id; other runs are not drawn.
        column: of the history.
        styles: by name; the marker is not drawn.
        shade: opacity of the band.
        changes: to the line.

    Returns:
        Whether there was anything to draw.
    """
    if column not in history:
        return False
    own = history.assign(name=history["run_id"].map(names), y=history[column].astype(float))
    own = own[np.isfinite(own["y"]) & (own["y"] > 0) & own["name"].notna()]
    axes.set_yscale("log")
    for name, style in styles.items():
        steps = own[own["name"] == name].groupby("step")["y"]
        if not len(steps):
            continue
        median = steps.median()
        line = {"color": style["color"], "linewidth": 1.5, **changes}
        axes.plot(median.index, median, **line)
        axes.fill_between(median.index, steps.min(), steps.max(), color=style["color"], alpha=shade, lw=0)
    return not own.empty


def draw_by_size(
    axes: Axes, points: pd.DataFrame, styles: Styles, *, log: bool = True, **changes: Any
) -> bool:
    """Light points a run and medians joined by a line, over a logarithmic axis; each size has its tick.

    Args:
        axes: the panel.
        points: columns `x`, `y`, `name`.
        styles: by name.
        log: whether the vertical axis is logarithmic.
        changes: to the line of medians.

    Returns:
        Whether there was anything to draw.
    """
    own = _drawable(points, styles, positive=log)
    if own.empty:
        say_empty(axes)
        return False
    ticks = axes.xaxis.get_major_locator()
    earlier = (
        ticks.tick_values(0.0, 0.0) if isinstance(ticks, FixedLocator) else ()
    )  # of what was drawn before
    axes.set_xscale("log")
    axes.set_yscale("log" if log else "linear")
    for place, (name, style) in enumerate(styles.items()):
        mine = own[own["name"] == name]
        beside = 1.02 ** (place - (len(styles) - 1) / 2)  # so that names do not hide each other
        axes.plot(mine["x"] * beside, mine["y"], **style, ls="", markersize=3, alpha=0.4, mew=0)
        median = mine.groupby("x")["y"].median()
        axes.plot(median.index * beside, median, **{**style, "lw": 1.5, "markersize": 5.5, **changes})
    sizes = sorted({*own["x"], *earlier})
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    grid(axes)
    return True


def draw_by_name(
    axes: Axes, points: pd.DataFrame, places: Sequence[str], styles: Styles, *, log: bool = True
) -> bool:
    """A column a place, and in it side by side the styles' names: light points a run, a bar at the median.

    Args:
        axes: the panel.
        points: columns `place`, `y`, `name`.
        places: along the horizontal axis; one without a point is marked as such.
        styles: by name.
        log: whether the vertical axis is logarithmic.

    Returns:
        Whether there was anything to draw.
    """
    own = _drawable(points, styles, positive=log)
    if own.empty:
        say_empty(axes)
        return False
    axes.set_yscale("log" if log else "linear")
    for k, (name, style) in enumerate(styles.items()):
        beside = 0.7 * ((k + 0.5) / len(styles) - 0.5)
        for place, where in enumerate(places):
            mine = own[(own["name"] == name) & (own["place"] == where)]
            at = place + beside
            if mine.empty:
                axes.annotate(
                    "×", (at, 0), xycoords=("data", "axes fraction"), color=style["color"], ha="center"
                )  # fmt: skip
                continue
            axes.plot([at] * len(mine), mine["y"], **style, ls="", markersize=4, alpha=0.5, mew=0)
            half = 0.3 / len(styles)
            axes.plot([at - half, at + half], [mine["y"].median()] * 2, color=style["color"], lw=2)
    axes.set_xticks(range(len(places)), places, rotation=30, ha="right")
    axes.set_xlim(-0.6, len(places) - 0.4)
    grid(axes)
    return True


def _drawable(points: pd.DataFrame, styles: Styles, *, positive: bool = True) -> pd.DataFrame:
    own = points[np.isfinite(points["y"].astype(float)) & points["name"].isin(list(styles))]
    return own[own["y"] > 0] if positive else own
