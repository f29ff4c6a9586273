"""The figure of a study: as files, and as SVG in the page."""

import base64
import io
import re
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ntkode.report.figures.data_text import show_as_data
from ntkode.report.training.curves import save

LARGEST_SVG = 1_000_000
"""Largest SVG in bytes; larger figures, with very many points, enter the page as PNG."""


def save_all(figure: Figure, stem: Path) -> tuple[list[Path], str]:
    """Write `<stem>.png` and `<stem>.pdf`; return their paths and the figure as a data URI for the page.

    The figure in the page is SVG with a transparent background and letters as outlines: it looks the same on
    every machine.
    """
    show_as_data(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # compute the layout once: it takes as long as drawing
    return save(figure, stem), as_data_uri(figure)


def as_data_uri(figure: Figure) -> str:
    """The figure on a transparent background, as a data URI."""
    drawn = _drawn(figure, "svg")
    if len(drawn) <= LARGEST_SVG:
        return _uri("image/svg+xml", _lean(drawn))
    return _uri("image/png", _drawn(figure, "png"))


def _drawn(figure: Figure, kind: str) -> bytes:
    show_as_data(figure)
    buffer = io.BytesIO()
    # A fixed salt and no date: the same numbers give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "ntkode", "svg.fonttype": "path"}):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(buffer, format=kind, dpi=160, transparent=True, metadata=metadata)
    return buffer.getvalue()


def _lean(svg: bytes) -> bytes:
    """The SVG without comments, document type and metadata, which contain web addresses."""
    text = re.sub(r"<!--.*?-->|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", svg.decode(), flags=re.DOTALL)
    return re.sub(r"\n\s*", "\n", text).strip().encode()


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
