"""The one error that bad data and bad data keys raise, and the checks that several data sets share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class DataError(ValueError):
    """Data that cannot be used as asked for.

    Attributes:
        problem: what is wrong, naming the offending value.
        remedy: the override to type (or the file to mend).
    """

    def __init__(self, problem: str, remedy: str) -> None:
        # Both in args, so that the error survives pickling on its way out of a job's process.
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}. Try: {self.remedy}"


def whole_number(key: str, value: int, *, least: int, most: int | None = None) -> int:
    """`value`, if it is a whole number in [least, most].

    Raises:
        DataError: it is not; `key` is the override that the message names.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most and value > most):
        bounds = f"≥ {least}" if most is None else f"from {least} to {most}"
        raise DataError(f"{key}={value} is not a whole number {bounds}", f"{key}=N with N {bounds}")
    return value


def check_finite(values: NDArray[Any], what: str) -> None:
    """Raise a `DataError` that names the first value that is NaN or infinite."""
    finite = np.isfinite(values)
    if not finite.all():
        bad = np.argwhere(~finite)
        place = ", column ".join(str(number) for number in bad[0])
        raise DataError(
            f"{what} is {values[tuple(bad[0])]} at row {place} ({len(bad)} values are not finite)",
            "mend the data, or choose another source",
        )
