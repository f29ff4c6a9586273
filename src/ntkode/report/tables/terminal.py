"""The style of all tables in the terminal."""

from collections.abc import Iterable

from rich import box
from rich.padding import PaddingDimensions
from rich.table import Table


def terminal_table(
    texts: Iterable[str] = (),
    numbers: Iterable[str] = (),
    *,
    title: str | None = None,
    padding: PaddingDimensions = (0, 1),
) -> Table:
    """An empty table with a rule under the header and no frame.

    Args:
        texts: headers of the first columns, which contain text.
        numbers: headers of the columns after them: aligned right, no line breaks.
        title: printed above the table.
        padding: of each table cell, as in `rich.table.Table`.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=padding, show_edge=False, title=title)
    for header in texts:
        table.add_column(header)
    for header in numbers:
        table.add_column(header, justify="right", no_wrap=True)
    return table
