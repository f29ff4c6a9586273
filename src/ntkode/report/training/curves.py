"""The figure of a training sweep, one line per run; saving of figures."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkode.files import atomic_file
from ntkode.report.figures.data_text import show_as_data
from ntkode.report.figures.style import (
    COLOURS,
    DRIFT_FORMULA,
    GRADIENT_ERROR_FORMULA,
    LOSS_RATIO_FORMULA,
    MARKERS,
    blank_figure,
    frame,
    grid,
    say_empty,
)

_PREDICTION: dict[str, Any] = {"linestyle": (0, (3, 2)), "linewidth": 0.9, "marker": ""}
_LIMIT: dict[str, Any] = {"linestyle": (0, (1, 1.5)), "linewidth": 0.9, "marker": ""}
# history column → line style and label
_PREDICTIONS = {
    "loss/predicted_ratio": (_PREDICTION, "predicted by the NTK at the start"),
    "loss/predicted_ratio_limit": (_LIMIT, "predicted by its infinite-width limit"),
}

_Style = dict[str, Any]


@dataclass(frozen=True)
class CurvePanel:
    """A panel of a figure: a metric against the training step.

    Attributes:
        metric: column of the history.
        title: title of the panel.
        ylabel: formula of the metric.
        scale: scale of the vertical axis.
    """

    metric: str
    title: str
    ylabel: str
    scale: str = "log"


LAMBDA_MIN = "ntk/lambda_min"
PANELS = (
    CurvePanel("loss/ratio", "Training loss relative to its start", LOSS_RATIO_FORMULA),
    CurvePanel(LAMBDA_MIN, "Smallest eigenvalue of the NTK (probe)", r"$\lambda_{\min}$"),
    CurvePanel("gradient/relative_error", "Relative error of the gradient", GRADIENT_ERROR_FORMULA),
    CurvePanel("ntk/drift", "Relative change of the NTK (probe)", DRIFT_FORMULA, "linear"),
)
COLUMNS = (*(panel.metric for panel in PANELS), *_PREDICTIONS, "ntk/resolution")
"""Columns of the history that the figures draw."""


def training_figure(history: pd.DataFrame, labels: dict[str, str]) -> Figure:
    """Loss, λ_min, gradient error and NTK drift against the training step, one line per run.

    The loss panel also contains predictions if the history has them: thin and dashed, the loss of gradient
    descent linearised at θ₀ (`loss/predicted_ratio`), dotted, the loss with the kernel of the
    infinite-width limit (`loss/predicted_ratio_limit`).

    Args:
        history: what `ntkode.results.load_history` returns.
        labels: the label of each run by run_id; runs with one label (seeds) share a colour.
    """
    figure = blank_figure(10, 6.8)
    every = figure.subplots(2, 2, sharex=True)
    styles = _styles(labels)
    predicted = [p for p in _PREDICTIONS if _draw(every[0, 0], history, styles, p, **_PREDICTIONS[p][0])]
    for axes, panel in zip(every.flat, PANELS, strict=True):
        values = floored(history, axes) if panel.metric == LAMBDA_MIN else history
        drawn = _draw(axes, values, styles, panel.metric, panel.scale)
        finish(axes, panel.title, panel.ylabel, empty=not (drawn or (predicted and axes is every[0, 0])))
    if predicted:
        lines = [
            Line2D([], [], color="0.4", **_PREDICTIONS[p][0], label=_PREDICTIONS[p][1]) for p in predicted
        ]
        every[0, 0].legend(handles=lines, frameon=False, fontsize=9, loc="best")
    for axes in every[1]:
        axes.set_xlabel("training step")
    figure.align_ylabels()
    _legend(figure, labels, styles)
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `<stem>.png` (160 dpi) and `<stem>.pdf`; return their paths."""
    png, pdf = (stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf"))
    show_as_data(figure)
    with atomic_file(png) as file:
        figure.savefig(file, dpi=160, format="png")
    figure.set_layout_engine("none")  # keep the layout: computing it again takes a third of the time
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of the dates in matplotlib's fonts
    # Outline fonts, which journals accept; no date, so that the same numbers give the same file.
    with matplotlib.rc_context({"pdf.fonttype": 42}), atomic_file(pdf) as file:
        figure.savefig(file, metadata={"CreationDate": None}, format="pdf")
    return [png, pdf]


def _styles(labels: dict[str, str]) -> dict[str, _Style]:
    """Line style by run_id: one colour per label, other dashes and markers once all colours are used."""
    names = list(dict.fromkeys(labels.values()))
    dashes = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
    by_label: dict[str, _Style] = {}
    for index, name in enumerate(names):
        repeat, colour = divmod(index, len(COLOURS))
        by_label[name] = {
            "color": COLOURS[colour],
            "linestyle": dashes[repeat % len(dashes)],
            "marker": MARKERS[(colour + repeat) % len(MARKERS)],
            "markersize": 3.5,
            # Runs of one label are seeds, drawn thinner.
            "linewidth": 1.6 if list(labels.values()).count(name) == 1 else 0.8,
        }
    return {run_id: by_label[label] for run_id, label in labels.items()}


def _draw(
    axes: Axes,
    history: pd.DataFrame,
    styles: dict[str, _Style],
    metric: str,
    scale: str = "log",
    **changes: Any,
) -> bool:
    """Draw a metric of every run; return whether there are values to draw."""
    if metric not in history:
        return False
    axes.set_yscale(scale)
    drawable = drawable_rows(history, metric, scale).sort_values("step")
    by_run = dict(iter(drawable.groupby("run_id")))
    for run_id, style in styles.items():
        if run_id not in by_run:
            continue
        series = by_run[run_id]
        marker = style["marker"] if _sparse(series["step"]) else ""
        axes.plot(series["step"], series[metric], **{**style, "marker": marker, **changes})
    return not by_run.keys().isdisjoint(styles)


def drawable_rows(history: pd.DataFrame, metric: str, scale: str) -> pd.DataFrame:
    """The rows at which the metric is finite, and positive if the scale is logarithmic."""
    values = history[metric].astype(float)
    return history[np.isfinite(values) & ((values > 0) | (scale == "linear"))]


def _sparse(steps: pd.Series) -> bool:
    """Whether a metric was measured so rarely that markers are needed."""
    return len(steps) <= 60 and steps.max() - steps.min() >= 2 * (len(steps) - 1)


def floored(history: pd.DataFrame, axes: Axes) -> pd.DataFrame:
    """The history with λ_min raised to its resolution, below which it is noise; a line on `axes` marks it."""
    if not {"ntk/lambda_min", "ntk/resolution"} <= set(history):
        return history
    noise = history["ntk/lambda_min"] <= history["ntk/resolution"]
    if noise.any():
        floor = history.loc[noise, "ntk/resolution"].max()
        axes.axhline(floor, color="0.6", linestyle=":", linewidth=1, zorder=1)
        axes.annotate(
            "resolution", (1, floor), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="0.5"
        )
    return history.assign(
        **{"ntk/lambda_min": history["ntk/lambda_min"].mask(noise, history["ntk/resolution"])}
    )


def finish(axes: Axes, title: str, ylabel: str, *, empty: bool) -> None:
    """Add title, label and grid to a drawn panel; an empty one says so."""
    frame(axes, title, ylabel)
    if empty:
        say_empty(axes)
    else:
        grid(axes)


def _legend(figure: Figure, labels: dict[str, str], styles: dict[str, _Style]) -> None:
    run_of = {label: run_id for run_id, label in labels.items()}
    handles = [Line2D([], [], **styles[run_id], label=label) for label, run_id in run_of.items()]
    columns = max(
        1, min(len(handles), 110 // (max(map(len, run_of), default=0) + 8))
    )  # about 110 letters fit in a line
    if len(handles) <= 4 * columns:
        figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False)
    else:
        figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8, handlelength=3)
