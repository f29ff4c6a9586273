"""A small chart of a claim: the measured interval over the expected range."""

import math
from dataclasses import dataclass

from ntkode.report.claims.claims import Above, Below, Judgement, Within

WIDTH = 120
_MARGIN = 8
_DECADES = 30.0
"""The axis is logarithmic if the ratio of the largest to the smallest value exceeds this."""


@dataclass(frozen=True)
class Glance:
    """Positions on a horizontal axis from 0 to `WIDTH`, in pixels.

    Attributes:
        expected: the ends of the expected range.
        bounds: the finite ends of the expected range.
        interval: the ends of the 95 % interval; None if there is none.
        value: the value of the estimate.
        logarithmic: whether the axis is logarithmic.
    """

    expected: tuple[float, float]
    bounds: tuple[float, ...]
    interval: tuple[float, float] | None
    value: float | None
    logarithmic: bool


def glance(judgement: Judgement) -> Glance | None:
    """The positions of a judgement's numbers; None without a measured value or for another `Expectation`."""
    estimate, expectation = judgement.estimate, judgement.claim.expectation
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
    if math.isnan(estimate.value):
        return None
    values = [*bounds, estimate.value, estimate.low, estimate.high]
    finite = [value for value in values if math.isfinite(value)]
    logarithmic = min(finite) > 0 and max(finite) > _DECADES * min(finite)
    axis = _Axis(finite, logarithmic)
    interval = None if math.isnan(estimate.low) else (axis(estimate.low), axis(estimate.high))
    return Glance(
        expected=(axis(bounds[0]), axis(bounds[1])),
        bounds=tuple(axis(bound) for bound in bounds if math.isfinite(bound)),
        interval=interval,
        value=axis(estimate.value),
        logarithmic=logarithmic,
    )


class _Axis:
    """The map from values to positions; infinite values get the ends of the axis."""

    def __init__(self, values: list[float], logarithmic: bool) -> None:
        self._scale = math.log if logarithmic else float
        low, high = self._scale(min(values)), self._scale(max(values))
        # If all values are equal, leave room on both sides.
        room = 0.25 * (high - low) or 0.5 * abs(high) or 1.0
        self._low, self._high = low - room, high + room

    def __call__(self, value: float) -> float:
        if math.isinf(value) or (self._scale is math.log and value <= 0):
            return float(WIDTH) if value > 0 else 0.0
        share = (self._scale(value) - self._low) / (self._high - self._low)
        return round(_MARGIN + share * (WIDTH - 2 * _MARGIN), 1)
