"""A study's picture: as files beside the page, and as SVG within it."""

import base64
import io
import re
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ntkode.report.training.curves import save

LARGEST_SVG = 1_000_000
"""Bytes of SVG above which the page holds pixels instead: pictures of very many points."""


def save_all(figure: Figure, stem: Path) -> tuple[list[Path], str]:
    """Write `<stem>.png` and `<stem>.pdf`; with their paths returns the picture as a data URI for the page.

    The page's picture has a transparent ground. It is SVG with letters as outlines, sharp at any size and the
    same on every machine.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once and for all: it takes as long as the drawing
    return save(figure, stem), as_data_uri(figure)


def as_data_uri(figure: Figure) -> str:
    """The picture on a transparent ground."""
    drawn = _drawn(figure, "svg")
    if len(drawn) <= LARGEST_SVG:
        return _uri("image/svg+xml", _lean(drawn))
    return _uri("image/png", _drawn(figure, "png"))


def _drawn(figure: Figure, kind: str) -> bytes:
    held = io.BytesIO()
    # Salted and without a date: the same numbers give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "ntkode", "svg.fonttype": "path"}):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(held, format=kind, dpi=160, transparent=True, metadata=metadata)
    return held.getvalue()


def _lean(svg: bytes) -> bytes:
    """Without comments, document type and metadata, which name addresses on the web."""
    text = re.sub(r"<!--.*?-->|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", svg.decode(), flags=re.DOTALL)
    return re.sub(r"\n\s*", "\n", text).strip().encode()


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
