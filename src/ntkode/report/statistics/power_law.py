"""Power laws y ≈ C x^slope: least squares of log y on log x, with a confidence interval over seeds."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy  # loads its parts on first use: scipy.stats takes as long as pandas

from ntkode.report.formatting import minus_sign
from ntkode.report.statistics.intervals import CONFIDENCE, student_interval


@dataclass(frozen=True)
class PowerLaw:
    """A fitted power law y ≈ C x^slope.

    Attributes:
        slope: the exponent; NaN if no seed has two values of x.
        half_width: half the length of the exponent's 95 % interval; NaN if there is too little data.
        log_c: log C.
        end_slope: the exponent between the two largest x; differs from `slope` before the asymptotic regime.
        seeds: the number of seeds.
        least: the smallest x of the fit.
    """

    slope: float
    half_width: float
    log_c: float
    end_slope: float
    seeds: int
    least: float

    def __call__(self, x: float) -> float:
        """The value of the law at x: C x^slope."""
        return math.exp(self.log_c) * x**self.slope

    @property
    def order(self) -> str:
        """Minus the exponent as text, for decreasing quantities: `0.50 ± 0.03`."""
        return str(replace(self, slope=-self.slope))

    def __str__(self) -> str:
        """The exponent as text, `−0.50 ± 0.03`: two decimals, more if the half-width is below 0.01."""
        known = self.half_width > 0
        decimals = max(2, math.ceil(-math.log10(self.half_width))) if known else 2
        interval = f" ± {self.half_width:.{decimals}f}" if known else ""
        return minus_sign(f"{self.slope:.{decimals}f}{interval}")


def fit_power_law(points: pd.DataFrame) -> PowerLaw:
    """Fit the law to each seed separately and average over seeds.

    Only seeds are independent: points of one seed share draws (the first rows of U, say) and data, so their
    residuals about a common line are correlated. With S ≥ 2 seeds the interval is Student's interval of the
    S slopes. It measures how the slope varies over initialisations, not the terms of higher order in the law;
    for those see `end_slope`. With one seed it is the interval of the regression, from the residuals.

    Args:
        points: columns `x`, `y` (both positive) and `seed`.

    >>> points = pd.DataFrame({"x": [1, 2, 4], "y": [3.0, 1.5, 0.75], "seed": 0})
    >>> round(fit_power_law(points).slope, 6)
    -1.0
    """
    logs = pd.DataFrame({"x": np.log(points["x"]), "y": np.log(points["y"]), "seed": points["seed"]})
    least = float(points["x"].min())
    fitted = [seed for _, seed in logs.groupby("seed") if seed["x"].nunique() >= 2]
    fits = [_line(seed) for seed in fitted]
    if not fits:
        return PowerLaw(math.nan, math.nan, math.nan, math.nan, points["seed"].nunique(), least)
    slopes = np.array([fit.slope for fit in fits])
    half_width = _half_width(slopes) if len(fits) > 1 else _regression_half_width(fits[0], len(fitted[0]))
    last = logs[logs["x"].isin(sorted(logs["x"].unique())[-2:])]
    ends = [_line(seed).slope for _, seed in last.groupby("seed") if seed["x"].nunique() == 2]
    return PowerLaw(
        slope=float(slopes.mean()),
        half_width=half_width,
        log_c=float(np.mean([fit.intercept for fit in fits])),
        end_slope=float(np.mean(ends)) if ends else math.nan,
        seeds=len(fits),
        least=least,
    )


def fit_exponent(x: pd.Series, y: pd.Series) -> float:
    """The slope of `fit_power_law` of one seed, without the interval, in a fiftieth of the time.

    Args:
        x: positive numbers.
        y: as many positive numbers.

    Returns:
        Σ (log x − mean)(log y − mean) / Σ (log x − mean)²; NaN if x has fewer than two different values.
    """
    if x.nunique() < 2:
        return math.nan
    squares, products, *_ = np.cov(np.log(x), np.log(y), bias=True).flat
    return float(products / squares)


def _half_width(slopes: np.ndarray) -> float:
    """Half the length of Student's interval of the mean slope."""
    _, high = student_interval(slopes - slopes.mean())  # centered: exact even for nearly equal slopes
    return high


def _regression_half_width(line: "_Line", points: int) -> float:
    """Half the length of the interval of a least-squares slope, from the residuals; NaN for two points."""
    freedom = points - 2
    return float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * line.stderr if freedom else math.nan


class _Line(NamedTuple):
    slope: float
    intercept: float
    stderr: float


def _line(logs: pd.DataFrame) -> _Line:
    line = scipy.stats.linregress(logs["x"].to_numpy(), logs["y"].to_numpy())
    return _Line(float(line.slope), float(line.intercept), float(line.stderr))
