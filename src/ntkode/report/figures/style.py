"""Colours, markers and frames that all figures share."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from ntkode.report.formatting import plain

# Okabe and Ito's palette for colour-blind readers, without yellow, which is too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


Styles = Mapping[str, dict[str, Any]]
"""Plot options of matplotlib by name."""

GRADIENT_ERROR_FORMULA = r"$\|g - g_{\mathrm{ref}}\|\,/\,\|g_{\mathrm{ref}}\|$"
DECAY_RATE_FORMULA = r"$-\mathrm{d}\log L\,/\,\mathrm{d}k$"
LOSS_RATIO_FORMULA = r"$L_k\,/\,L_0$"
DRIFT_FORMULA = r"$\|\Theta_k - \Theta_0\|_F\,/\,\|\Theta_0\|_F$"


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure with automatic layout, width and height in inches.

    It does not use pyplot, which has global state.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def styles_of(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Plot style by name: each name gets a colour and a marker."""
    return {
        name: {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[(k + k // len(COLOURS)) % len(MARKERS)]}
        for k, name in enumerate(names)
    }


def frame(axes: Axes, title: str, ylabel: str) -> None:
    """Set the title and the vertical label of a panel; hide its top and right edges."""
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)


def say_empty(axes: Axes) -> None:
    """Print "not measured" in an empty panel."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color="0.5")


def size_ticks(axes: Axes, sizes: Sequence[float]) -> None:
    """One tick per size on the horizontal axis, and no others."""
    axes.set_xticks(sizes, [plain(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())


def grid(axes: Axes) -> None:
    """A faint grid and readable tick labels; call it after drawing."""
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    _plain_ticks(axes)


def _plain_ticks(axes: Axes) -> None:
    """Decimal tick labels (0.2, 0.5) instead of powers on a logarithmic axis of at most two decades."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "linear" or high > 100 * low:
        return
    digits = (1, 2, 5) if high > 10 * low else (1, 2, 3, 4, 6)
    axes.yaxis.set_major_locator(LogLocator(subs=digits) if high > 3 * low else MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
