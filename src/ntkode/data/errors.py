"""The error for unusable data, and the check for finite values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkode.checks import SettingError


class DataError(SettingError):
    """The data cannot be used as requested; carries a remedy."""


def check_finite(values: NDArray[Any], what: str) -> None:
    """Raise a `DataError` that names the first value that is NaN or infinite."""
    finite = np.isfinite(values)
    if not finite.all():
        bad = np.argwhere(~finite)
        place = ", column ".join(str(number) for number in bad[0])
        raise DataError(
            f"{what} is {values[tuple(bad[0])]} at row {place} ({len(bad)} values are not finite)",
            "correct the data, or choose another source",
        )
