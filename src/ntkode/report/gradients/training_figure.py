"""The figure of study=gradient_training: results of training against the gradient's error."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkode.report.figures.style import blank_figure, frame, grid, say_empty, styles_of

_XLABEL = r"relative error of the gradient at the start"
# The shortest vertical range, so that nearly equal values look nearly equal.
_LEAST_RANGE = 0.1
# column → title, label, whether the value is relative to that of the most accurate gradient
_PANELS = {
    "lambda_min_ratio": ("Smallest eigenvalue of the NTK at the end", "relative to the most accurate", True),
    "rate_ratio": ("Decay rate of the loss", "relative to the most accurate", True),
    "accuracy": ("Test accuracy", "share of test samples", False),
}


def gradient_training_figure(effects: pd.DataFrame, bounds: Sequence[float]) -> Figure:
    """Four panels against the gradient's error: change of the exact loss, λ_min, decay rate, accuracy.

    Colours mark activations. Light points are seeds; joined points are medians over the seeds of a setting.
    Hollow points in the first panel are runs with a lower loss than with the most accurate gradient.

    Args:
        effects: see `ntkode.report.gradients.training.training_effects`.
        bounds: changes to mark.
    """
    figure = blank_figure(10, 7.6)
    groups = list(dict.fromkeys(effects["group"]))
    styles = styles_of(groups)
    loss, *others = figure.subplots(2, 2, sharex=True).flat
    _draw_change(loss, effects, styles, bounds)
    for axes, (column, (title, ylabel, relative)) in zip(others, _PANELS.items(), strict=True):
        frame(axes, title, ylabel)
        if _draw(axes, effects, styles, column):
            if relative:
                axes.axhline(1, color="0.5", linestyle=":", linewidth=1, zorder=1)
            _widen(axes)
            grid(axes)
    for axes in figure.axes[2:]:
        axes.set_xlabel(_XLABEL)
    figure.align_ylabels()
    handles = [Line2D([], [], **style, linewidth=1.4, label=group) for group, style in styles.items()]
    if (effects["loss_ratio"] < 1).any():
        lower: dict[str, Any] = {"marker": "o", "mfc": "white", "ls": "", "color": "0.4"}
        handles.append(Line2D([], [], **lower, label="hollow: lower loss"))
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 7), frameon=False)
    return figure


def _draw_change(
    axes: Axes, effects: pd.DataFrame, styles: dict[str, dict[str, Any]], bounds: Sequence[float]
) -> None:
    frame(axes, "Change of the final loss of the ODE", r"$|L\,/\,L_{\mathrm{most\ accurate}} - 1|$")
    changes = effects.assign(change=(effects["loss_ratio"] - 1).abs())
    changes = changes[changes["change"] > 0]
    if not _draw(axes, changes, styles, "change"):
        return
    axes.set_yscale("log")
    lower = changes[changes["loss_ratio"] < 1]
    for name, group in lower.groupby("group"):
        axes.plot(group["error"], group["change"], **styles[str(name)], ls="", mfc="white", markersize=5)
    for bound in bounds:
        axes.axhline(bound, color="0.5", linestyle=(0, (4, 3)), linewidth=1, zorder=1)
        axes.annotate(
            f"{bound:.0%}", (0, bound), xycoords=("axes fraction", "data"), xytext=(3, 2),
            textcoords="offset points", color="0.4", fontsize=9,
        )  # fmt: skip
    grid(axes)


def _widen(axes: Axes) -> None:
    """Extend the vertical axis to at least `_LEAST_RANGE`."""
    low, high = axes.get_ylim()
    missing = max(0.0, _LEAST_RANGE - (high - low)) / 2
    axes.set_ylim(low - missing, high + missing)


def _draw(axes: Axes, effects: pd.DataFrame, styles: dict[str, dict[str, Any]], column: str) -> bool:
    """Draw points and medians by group; return whether there are values to draw."""
    drawable = effects[effects[column].notna()]
    if drawable.empty:
        say_empty(axes)
        return False
    axes.set_xscale("log")
    for group, style in styles.items():
        points = drawable[drawable["group"] == group]
        if points["seed"].nunique() > 1:
            axes.plot(points["error"], points[column], **style, ls="", markersize=3.5, alpha=0.4, mew=0)
        medians = points.groupby("setting")[["error", column]].median().sort_values("error")
        axes.plot(medians["error"], medians[column], **style, linewidth=1.4, markersize=5.5)
    return True
