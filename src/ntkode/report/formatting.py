"""Numbers as text, for tables, claims and the terminal."""

import math
import re

MISSING = "–"
"""The text for a missing number."""


def three_digits(value: float) -> str:
    """Three significant digits, with trailing zeros; integers from 1000 to a million in full.

    >>> [three_digits(value) for value in (0.1449, 1.2e-6, 118.2, 1536.4, math.nan)]
    ['0.145', '1.20e-6', '118', '1536', 'nan']
    """
    if not math.isfinite(value):
        return str(float(value))
    if 1000 <= abs(value) < 1e6:
        return f"{value:.0f}"
    return re.sub(r"e([+-])0*", lambda sign: "e" + sign[1].strip("+"), f"{value:#.3g}").rstrip(".")


def short(value: float) -> str:
    """As `three_digits`, but numbers with at most two decimals stay as they are: 0.5, not 0.500.

    The minus sign is −.

    >>> [short(value) for value in (0.5, -1.01, 0.12345, 1536.4)]
    ['0.5', '−1.01', '0.123', '1536']
    """
    if value == 0 or (abs(value) < 1000 and value == round(value, 2)):
        return plain(value)
    return minus_sign(three_digits(value))


def plain(value: float) -> str:
    """A setting, with at most six significant digits and without trailing zeros.

    >>> [plain(value) for value in (0.001, -0.5, 512.0)]
    ['0.001', '−0.5', '512']
    """
    return minus_sign(f"{value:g}")


def measured(value: float | None) -> str:
    """`three_digits`, or `MISSING` for None and NaN."""
    return MISSING if value is None or math.isnan(value) else three_digits(value)


def minus_sign(number: str) -> str:
    """The text of a number with the minus sign − in place of the hyphen."""
    return number.replace("-", "−")
