"""Checks of settings; each error names the key, its value, and an override to try."""

from __future__ import annotations

import math
from typing import Any


class SettingError(ValueError):
    """A config value that cannot be used.

    Attributes:
        problem: what is wrong, with the offending value.
        remedy: the override to try, or the file to correct.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        # Both in args, so that the error can be pickled and sent between processes.
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}. Try: {self.remedy}"


def count(key: str, value: Any, *, least: int = 1) -> int:
    """Return `value` if it is an integer ≥ `least`.

    Raises:
        ValueError: `value` is anything else; the message names `key`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{key}={value} must be an integer ≥ {least}, as in {key}={10 * least}")
    return value


def positive(key: str, value: Any) -> float:
    """Return `value` as a float if it is a finite number > 0.

    Raises:
        ValueError: `value` is anything else; the message names `key`.
    """
    if not _is_finite(value) or value <= 0:
        raise ValueError(f"{key}={value} must be a positive number, as in {key}=0.1")
    return float(value)


def nonnegative(key: str, value: Any) -> float:
    """Return `value` as a float if it is a finite number ≥ 0.

    Raises:
        ValueError: `value` is anything else; the message names `key`.
    """
    if not _is_finite(value) or value < 0:
        raise ValueError(f"{key}={value} must be a number ≥ 0, as in {key}=1.0")
    return float(value)


def whole_number(key: str, value: int, *, least: int, most: int | None = None) -> int:
    """Return `value` if it is a whole number in [least, most]; `most=None`: no upper bound.

    Raises:
        SettingError: `value` is anything else; the message names the override `key`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most and value > most):
        bounds = f"≥ {least}" if most is None else f"from {least} to {most}"
        raise SettingError(f"{key}={value} is not a whole number {bounds}", f"{key}=N with N {bounds}")
    return value


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
