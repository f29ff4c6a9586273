"""Rates as slopes: least squares of log y on log x, with a confidence interval over seeds."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy  # its parts load when they are used: scipy.stats takes as long as pandas

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PowerLaw:
    """y ≈ C x^slope.

    Attributes:
        slope: the exponent; NaN where no seed has two abscissae.
        half_width: of the exponent's 95 % interval; NaN where there is nothing to tell it from.
        log_c: log C.
        end_slope: the exponent between the two largest abscissae, which says whether the law has set in.
        seeds: the number of seeds.
        least: the smallest abscissa that it was fitted to.
    """

    slope: float
    half_width: float
    log_c: float
    end_slope: float
    seeds: int
    least: float

    def __call__(self, x: float) -> float:
        """C x^slope."""
        return math.exp(self.log_c) * x**self.slope

    @property
    def order(self) -> str:
        """Minus the exponent as text, for what falls: `0.50 ± 0.03`."""
        return str(replace(self, slope=-self.slope))

    def __str__(self) -> str:
        """Such as `−0.50 ± 0.03`: with the decimals that the interval leaves, two at least."""
        known = self.half_width > 0
        decimals = max(2, math.ceil(-math.log10(self.half_width))) if known else 2
        interval = f" ± {self.half_width:.{decimals}f}" if known else ""
        return f"{self.slope:.{decimals}f}{interval}".replace("-", "−")


def fit_power_law(points: pd.DataFrame) -> PowerLaw:
    """Fit the law to each seed by itself, and take the mean over seeds.

    Seeds are what is independent: points of one seed share draws (the first rows of U, say) and data, so that
    residuals about a common line are not. With S ≥ 2 seeds the interval is Student's, from the S slopes; it
    tells how the slope varies over initialisations, and nothing of terms of higher order in the law, for
    which see `end_slope`. With one seed it is the regression's, from the residuals about the line.

    Args:
        points: columns `x`, `y` (both positive) and `seed`.
    """
    logs = pd.DataFrame({"x": np.log(points["x"]), "y": np.log(points["y"]), "seed": points["seed"]})
    least = float(points["x"].min())
    fits = [_line(own) for _, own in logs.groupby("seed") if own["x"].nunique() >= 2]
    if not fits:
        return PowerLaw(math.nan, math.nan, math.nan, math.nan, points["seed"].nunique(), least)
    slopes = np.array([fit.slope for fit in fits])
    if len(fits) > 1:
        error, freedom = slopes.std(ddof=1) / math.sqrt(len(fits)), len(fits) - 1
    else:
        error, freedom = fits[0].stderr, len(logs) - 2
    half_width = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * error if freedom > 0 else math.nan
    last = logs[logs["x"].isin(sorted(logs["x"].unique())[-2:])]
    ends = [_line(own).slope for _, own in last.groupby("seed") if own["x"].nunique() == 2]
    return PowerLaw(
        slope=float(slopes.mean()),
        half_width=float(half_width),
        log_c=float(np.mean([fit.intercept for fit in fits])),
        end_slope=float(np.mean(ends)) if ends else math.nan,
        seeds=len(fits),
        least=least,
    )


class _Line(NamedTuple):
    slope: float
    intercept: float
    stderr: float


def _line(logs: pd.DataFrame) -> _Line:
    line = scipy.stats.linregress(logs["x"].to_numpy(), logs["y"].to_numpy())
    return _Line(float(line.slope), float(line.intercept), float(line.stderr))
