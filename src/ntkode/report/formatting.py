"""Numbers as text, for tables, claims and the terminal."""

import math
import re

MISSING = "–"
"""Stands for a number that does not exist."""


def three_digits(value: float) -> str:
    """Three significant digits, as short as they can be read: `0.145`, `1.20e-6`, `118`, `1536`."""
    if not math.isfinite(value):
        return str(float(value))
    if 1000 <= abs(value) < 1e6:
        return f"{value:.0f}"
    return re.sub(r"e([+-])0*", lambda found: "e" + found[1].strip("+"), f"{value:#.3g}").rstrip(".")


def shown(value: float) -> str:
    """Three significant digits at most, without zeros at the end."""
    if value == 0 or (abs(value) < 1000 and value == round(value, 2)):
        return f"{value:g}".replace("-", "−")
    return three_digits(value).replace("-", "−")
