"""The figure of study=gaussianity: Q–Q plots, and quantities that decrease with the width."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkode.report.figures.style import blank_figure, frame, grid, say_empty, size_ticks, styles_of
from ntkode.report.limits.scaling_figure import Scaling, draw_panel
from ntkode.report.statistics.power_law import PowerLaw
from ntkode.results import Status

_PREFIX = "quantile/"
_MOST_PANELS = 4
_PANELS = ("excess kurtosis", "correlation of squares")
AD_RATIO = "process/ad_ratio"
"""The column with Anderson and Darling's statistic of combinations of outputs, divided by its 5 % value."""


def gaussianity_figure(
    runs: pd.DataFrame, points: pd.DataFrame, laws: dict[tuple[str, str], PowerLaw], scaling: Scaling
) -> Figure:
    """Top: one panel per activation, quantiles of f/√NNGP minus normal ones. Bottom: quantities against n."""
    figure = blank_figure(11, 8)
    done = runs[runs["status"] == Status.DONE]
    top, bottom = figure.subfigures(2, 1, squeeze=False)[:, 0]
    activation = "config.choices.activation"
    names = list(done[activation].unique())[:_MOST_PANELS] if activation in done else []
    panels = top.subplots(1, max(1, len(names)), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=False):
        _quantiles(axes, str(name), done[done[activation] == name], scaling.size)
    if not names:
        say_empty(panels[0])
    panels[0].set_ylabel("quantile − normal quantile")
    groups = list(dict.fromkeys(points["group"]))
    quantities = [quantity for quantity in scaling.quantities if quantity.name in _PANELS]
    *scaling_panels, tests_panel = bottom.subplots(1, len(quantities) + 1)
    for axes, quantity in zip(scaling_panels, quantities, strict=True):
        frame(axes, quantity.title, quantity.ylabel)
        axes.set_xlabel(scaling.xlabel)
        panel_points = points[points["quantity"] == quantity.name]
        if panel_points.empty:
            say_empty(axes)
        else:
            draw_panel(axes, panel_points, groups, laws, quantity)
    _tests(tests_panel, done, names, scaling)
    return figure


def _tests(axes: Axes, done: pd.DataFrame, names: list[Any], scaling: Scaling) -> None:
    """The test statistic of combinations of outputs against the width; the line is its 5 % value."""
    frame(axes, r"Normality of $\Sigma_i a_i f(x_i)$", "Anderson–Darling over its 5 % value")
    axes.set_xlabel(scaling.xlabel)
    if AD_RATIO not in done or done[AD_RATIO].isna().all():
        say_empty(axes)
        return
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.axhline(1, color="0.4", linewidth=0.9, linestyle=(0, (4, 3)), label="5 % value")
    for name, style in styles_of(list(map(str, names))).items():
        runs = done[done["config.choices.activation"] == name]
        axes.plot(runs[scaling.size], runs[AD_RATIO], **style, linestyle="", markersize=3, alpha=0.45, mew=0)
        median = runs.groupby(scaling.size)[AD_RATIO].median()
        axes.plot(median.index, median, **style, linewidth=1.2, markersize=6, mec="white", label=name)
    axes.legend(frameon=False, fontsize=9)
    sizes = sorted(done[scaling.size].unique())
    size_ticks(axes, sizes)
    axes.minorticks_off()
    grid(axes)


def _quantiles(axes: Axes, name: str, runs: pd.DataFrame, size: str) -> None:
    """Means over seeds, one line per width; darker lines are wider networks."""
    frame(axes, f"{name}: quantiles over initialisations", "")
    axes.set_xlabel("normal quantile")
    axes.axhline(0, color="0.6", linewidth=0.8)
    columns = sorted(
        (str(c) for c in runs if str(c).startswith(_PREFIX) and "." in str(c) and str(c).count(".") == 1),
        key=lambda column: float(column.removeprefix(_PREFIX)),
    )
    at = np.array([float(column.removeprefix(_PREFIX)) for column in columns])
    sizes = sorted(runs[size].unique()) if size in runs else []
    colours = matplotlib.colormaps["viridis_r"](np.linspace(0.15, 1, max(1, len(sizes))))
    for width, colour in zip(sizes, colours, strict=False):
        mean = runs.loc[runs[size] == width, columns].astype(float).mean()
        axes.plot(at, mean.to_numpy() - at, color=colour, linewidth=1.4, label=f"{width:g}")
    if len(columns):
        axes.legend(title="width", frameon=False, fontsize=8, title_fontsize=8, ncols=2)
    grid(axes)
