"""Text of records in figures: data, neither control characters nor broken formulas."""

from functools import lru_cache
from typing import Any

from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from ntkode.results.foreign_text import visible


def show_as_data(figure: Figure) -> None:
    """Make all texts of a figure drawable, whatever the labels of its runs are.

    Control characters become escape sequences. A text that is no valid formula, although it has dollar signs,
    is drawn as it is; matplotlib would raise a ValueError.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if _needs_care(text.get_text()):
            text.set_text(_drawable(text.get_text()))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for formatter in (axis.get_major_formatter(), axis.get_minor_formatter()):
                _make_drawable(formatter)


def _make_drawable(formatter: Any) -> None:
    """Do the same for labels of ticks, which their formatter sets while the figure is drawn."""
    if isinstance(formatter, FixedFormatter):
        formatter.seq = [_drawable(label) for label in formatter.seq]
    elif isinstance(formatter, FuncFormatter):  # of `set_xticks(places, labels)`
        label_of = formatter.func
        formatter.func = lambda place, position: _drawable(str(label_of(place, position)))


def _drawable(text: str) -> str:
    text = visible(text)
    return text if _is_formula(text) else text.replace(r"\$", "$").replace("$", r"\$")


def _needs_care(text: str) -> bool:
    return "$" in text or not text.isprintable()


@lru_cache(maxsize=1024)
def _is_formula(text: str) -> bool:
    """Whether the text has no dollar signs, or formulas that matplotlib can draw between them."""
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return False
    return True
