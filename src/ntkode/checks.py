"""Checks of settings: each error names the key, its value, and an override that would do."""

from __future__ import annotations

import math
from typing import Any


def count(key: str, value: Any, *, least: int = 1) -> int:
    """`value`, if it is an integer ≥ `least`.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{key}={value} must be an integer ≥ {least}, as in {key}={10 * least}")
    return value


def positive(key: str, value: Any) -> float:
    """`value`, if it is a finite number > 0.

    Raises:
        ValueError: it is not.
    """
    if not _is_finite(value) or value <= 0:
        raise ValueError(f"{key}={value} must be a positive number, as in {key}=0.1")
    return float(value)


def nonnegative(key: str, value: Any) -> float:
    """`value`, if it is a finite number ≥ 0.

    Raises:
        ValueError: it is not.
    """
    if not _is_finite(value) or value < 0:
        raise ValueError(f"{key}={value} must be a number ≥ 0, as in {key}=1.0")
    return float(value)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
