"""A claim's numbers at a glance: the interval that was measured over the values that were expected."""

import math
from dataclasses import dataclass

from ntkode.report.claims.claims import Above, Below, Judgement, Within

WIDTH = 120
_MARGIN = 8
_DECADES = 30.0
"""Ratio of the largest to the smallest value from which the axis is logarithmic."""


@dataclass(frozen=True)
class Glance:
    """Places on a horizontal axis from 0 to `WIDTH`.

    Attributes:
        expected: from where to where the expectation reaches.
        bounds: its ends that are on the axis.
        interval: the ends of the 95 % interval; None where there is none.
        estimate: None where nothing was measured.
        logarithmic: whether the axis is.
    """

    expected: tuple[float, float]
    bounds: tuple[float, ...]
    interval: tuple[float, float] | None
    estimate: float | None
    logarithmic: bool


def glance(judgement: Judgement) -> Glance | None:
    """Where the numbers lie; None where nothing was measured, or the expectation is of another kind."""
    found, expectation = judgement.evidence, judgement.claim.expectation
    bounds: tuple[float, float]
    match expectation:
        case Within(least, most):
            bounds = (least, most)
        case Above(bound):
            bounds = (bound, math.inf)
        case Below(bound):
            bounds = (-math.inf, bound)
        case _:
            return None
    if math.isnan(found.estimate):
        return None
    told = [*bounds, found.estimate, found.low, found.high]
    finite = [value for value in told if math.isfinite(value)]
    logarithmic = min(finite) > 0 and max(finite) > _DECADES * min(finite)
    axis = _Axis(finite, logarithmic)
    interval = None if math.isnan(found.low) else (axis(found.low), axis(found.high))
    return Glance(
        expected=(axis(bounds[0]), axis(bounds[1])),
        bounds=tuple(axis(bound) for bound in bounds if math.isfinite(bound)),
        interval=interval,
        estimate=axis(found.estimate),
        logarithmic=logarithmic,
    )


class _Axis:
    """From values to places; what lies beyond all finite values, at the edge."""

    def __init__(self, values: list[float], logarithmic: bool) -> None:
        self._scale = math.log if logarithmic else float
        low, high = self._scale(min(values)), self._scale(max(values))
        # A bound that all values equal has room on either side.
        room = 0.25 * (high - low) or 0.5 * abs(high) or 1.0
        self._low, self._high = low - room, high + room

    def __call__(self, value: float) -> float:
        if math.isinf(value) or (self._scale is math.log and value <= 0):
            return float(WIDTH) if value > 0 else 0.0
        share = (self._scale(value) - self._low) / (self._high - self._low)
        return round(_MARGIN + share * (WIDTH - 2 * _MARGIN), 1)
