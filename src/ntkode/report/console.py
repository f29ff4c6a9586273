"""The consoles of all scripts: they print text of records as data."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ntkode.results.foreign_text import visible


class RecordConsole(Console):
    r"""A console that prints control characters in text as escape sequences, such as `\x1b`.

    Rich's own control sequences (colours, progress bars) are not text, and are kept.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, their text without control characters."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield segment._replace(text=visible(segment.text))
