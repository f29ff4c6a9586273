"""Text for Markdown: cells, code, tables."""

from __future__ import annotations

import re
from collections.abc import Sequence


def escaped(text: str) -> str:
    """Plain text, its special characters escaped."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|$])", r"\\\1", text)


def code(text: str) -> str:
    """Text as code; a bar would end the table's cell."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, with an empty line after it."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
