"""Panels of the paper studies' figures: curves by step, points by size, points by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from ntkode.report.figures.style import (
    LOSS_RATIO_FORMULA,
    Styles,
    blank_figure,
    frame,
    grid,
    say_empty,
    size_ticks,
)


def blank(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, row by row."""
    figure = blank_figure(*size)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def legend(figure: Figure, styles: Styles, *others: Line2D) -> None:
    """A legend above all panels: the names and the other lines."""
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
    """Median over the runs of each name by step, and the band from minimum to maximum; logarithmic axis.

    Args:
        axes: the panel.
        history: what `ntkode.results.load_history` returns.
        names: the name by run_id; other runs are ignored.
        column: the column of the history.
        styles: plot style by name; the marker is ignored.
        shade: opacity of the band, 0 to 1.
        changes: plot options that override the style of the line.

    Returns:
        Whether the panel contains data.
    """
    if column not in history:
        return False
    drawable = history.assign(name=history["run_id"].map(names), y=history[column].astype(float))
    drawable = drawable[np.isfinite(drawable["y"]) & (drawable["y"] > 0) & drawable["name"].notna()]
    axes.set_yscale("log")
    for name, style in styles.items():
        steps = drawable[drawable["name"] == name].groupby("step")["y"]
        if not len(steps):
            continue
        median = steps.median()
        line = {"color": style["color"], "linewidth": 1.5, **changes}
        axes.plot(median.index, median, **line)
        axes.fill_between(median.index, steps.min(), steps.max(), color=style["color"], alpha=shade, lw=0)
    return not drawable.empty


def finish_losses(axes: Axes, title: str = "Training loss") -> None:
    """Title, labels and grid of a panel of loss curves."""
    axes.set_xlabel("training step $k$")
    frame(axes, title, LOSS_RATIO_FORMULA)
    grid(axes)


def draw_by_size(
    axes: Axes, points: pd.DataFrame, styles: Styles, *, log: bool = True, **changes: Any
) -> bool:
    """Light points (one per run) and a line through the medians; logarithmic axis, one tick per size.

    Args:
        axes: the panel.
        points: columns `x`, `y`, `name`.
        styles: plot style by name.
        log: whether the vertical axis is logarithmic.
        changes: plot options that override the style of the line of medians.

    Returns:
        Whether the panel contains data.
    """
    drawable = _drawable(points, styles, positive=log)
    if drawable.empty:
        say_empty(axes)
        return False
    ticks = axes.xaxis.get_major_locator()
    # Ticks of an earlier call on the same panel.
    earlier = ticks.tick_values(0.0, 0.0) if isinstance(ticks, FixedLocator) else ()
    axes.set_xscale("log")
    axes.set_yscale("log" if log else "linear")
    for place, (name, style) in enumerate(styles.items()):
        same_name = drawable[drawable["name"] == name]
        factor = 1.02 ** (place - (len(styles) - 1) / 2)  # shifted so that names do not hide each other
        axes.plot(same_name["x"] * factor, same_name["y"], **style, ls="", markersize=3, alpha=0.4, mew=0)
        median = same_name.groupby("x")["y"].median()
        axes.plot(median.index * factor, median, **{**style, "lw": 1.5, "markersize": 5.5, **changes})
    sizes = sorted({*drawable["x"], *earlier})
    size_ticks(axes, sizes)
    grid(axes)
    return True


def draw_by_name(
    axes: Axes, points: pd.DataFrame, places: Sequence[str], styles: Styles, *, log: bool = True
) -> bool:
    """One column per place, with the names side by side: light points (one per run), a bar at the median.

    Args:
        axes: the panel.
        points: columns `place`, `y`, `name`.
        places: the columns, from left to right; a name without points gets a ×.
        styles: plot style by name.
        log: whether the vertical axis is logarithmic.

    Returns:
        Whether the panel contains data.
    """
    drawable = _drawable(points, styles, positive=log)
    if drawable.empty:
        say_empty(axes)
        return False
    axes.set_yscale("log" if log else "linear")
    for k, (name, style) in enumerate(styles.items()):
        offset = 0.7 * ((k + 0.5) / len(styles) - 0.5)
        for index, place in enumerate(places):
            same_name = drawable[(drawable["name"] == name) & (drawable["place"] == place)]
            at = index + offset
            if same_name.empty:
                axes.annotate(
                    "×", (at, 0), xycoords=("data", "axes fraction"), color=style["color"], ha="center"
                )  # fmt: skip
                continue
            axes.plot([at] * len(same_name), same_name["y"], **style, ls="", markersize=4, alpha=0.5, mew=0)
            half = 0.3 / len(styles)
            axes.plot([at - half, at + half], [same_name["y"].median()] * 2, color=style["color"], lw=2)
    axes.set_xticks(range(len(places)), places, rotation=30, ha="right")
    axes.set_xlim(-0.6, len(places) - 0.4)
    grid(axes)
    return True


def _drawable(points: pd.DataFrame, styles: Styles, *, positive: bool = True) -> pd.DataFrame:
    named = points[np.isfinite(points["y"].astype(float)) & points["name"].isin(list(styles))]
    return named[named["y"] > 0] if positive else named
