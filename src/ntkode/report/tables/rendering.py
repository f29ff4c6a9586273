"""A data frame as text, for the page and for LaTeX."""

import math
from collections.abc import Hashable
from typing import Any

import pandas as pd

from ntkode.report.formatting import MISSING, minus_sign, plain, short, three_digits
from ntkode.report.tables.comparison import RESOLUTION

ROUND = 4
"""A column whose numbers all have at most this many significant digits contains settings."""


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text, with the same shape, index and columns.

    Measured numbers get three significant digits, settings keep all of theirs (see `ROUND`). A λ_min at or
    below its resolution becomes `<` the resolution (see `ntkode.report.tables.comparison.comparison`).
    """
    texts = {name: _column(table[name]) for name in table}
    if RESOLUTION.name in table:
        floor = table[RESOLUTION.name]
        for name in [name for name in texts if _is_lambda_min(name)]:
            noise = pd.to_numeric(table[name], errors="coerce") <= floor
            texts[name] = texts[name].mask(noise, "<" + floor.map(_measured))
    return pd.DataFrame(texts, index=table.index, columns=table.columns, dtype=object)


def missing(value: Any) -> bool:
    """Whether the value is None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_lambda_min(name: Hashable) -> bool:
    text = str(name)
    return text.startswith("lambda_min") and text != RESOLUTION.name


def _column(values: pd.Series) -> pd.Series:
    numbers = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    setting = all(value == float(f"{value:.{ROUND}g}") for value in numbers)
    return values.map(lambda value: _text(value, setting)).astype(object)


def _text(value: Any, setting: bool) -> str:
    if missing(value) or value == "":
        return MISSING
    if not isinstance(value, float):
        return str(value)
    return plain(value) if setting else _measured(value)


def _measured(value: float) -> str:
    return minus_sign(three_digits(value)) if math.isfinite(value) else short(value)
