"""Text of records, which may come from another machine, as data: on a terminal and in a spreadsheet."""

import unicodedata
from typing import Any

import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters of a cell that spreadsheets evaluate."""
_CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories: control characters, formats such as the direction of text, surrogates, line breaks."""


def visible(text: str) -> str:
    r"""`text` with control characters as escape sequences, such as `\x1b`; line breaks and tabs are kept.

    A terminal would carry them out: clear the screen, change colours, set the clipboard.
    """
    if text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def csv_text(table: pd.DataFrame) -> str:
    """The table as CSV, without its index; texts that a spreadsheet would evaluate begin with `'`.

    A carriage return becomes a line break, which CSV quotes: a new line would begin a cell.
    """
    safe = table.copy(deep=False)
    for name in table:
        if any(map(_is_unsafe, table[name])):
            safe[name] = pd.Series(map(_safe, table[name]), table.index, dtype=object)
    return str(safe.rename(columns=_safe).to_csv(index=False))


def _visible_character(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _CONTROL:
        return character
    return character.encode("unicode_escape").decode()


def _safe(value: Any) -> Any:
    if not _is_unsafe(value):
        return value
    marked = f"'{value}" if value.startswith(_FORMULA) else value
    return marked.replace("\r\n", "\n").replace("\r", "\n")  # CSV quotes only the latter


def _is_unsafe(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return "\r" in value or (value.startswith(_FORMULA) and not _is_number(value))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
