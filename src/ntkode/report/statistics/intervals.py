"""Estimates from runs: a value, its 95 % interval, or the reason why there is none.

A *statistic* computes one value per independent replicate (seed) from the runs. Values of one replicate, for
example at several widths, are not independent: fit or compare them within the replicate; then the replicates
are the sample.

No replicate is dropped silently. If one could not be measured (NaN), there is no interval, because failures
may depend on the value that is missing. An outcome that is itself the subject of a claim, such as divergence,
counts as a value: 0 in `Share`, or infinity.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy  # loads its parts on first use: scipy.stats takes as long as pandas

CONFIDENCE = 0.95
LEAST_REPLICATES = 3
SAME = 1e-12
"""Relative standard deviation up to which replicates count as equal except for rounding."""

Statistic = Callable[[pd.DataFrame], pd.Series]
"""From runs (see `ntkode.results.load`) to one value per replicate; the index names the replicates."""


@dataclass(frozen=True)
class Estimate:
    """The value of a quantity and its 95 % interval [low, high].

    Attributes:
        value: the center, such as the mean over replicates; NaN if nothing was measured.
        low: lower end of the interval; NaN if there is no interval.
        high: upper end of the interval; NaN if there is no interval.
        replicates: number of independent values behind it.
        basis: a description of the interval, the subject of a sentence.
        lacking: the reason why there is no interval; empty if there is one.
    """

    value: float
    low: float
    high: float
    replicates: int
    basis: str = ""
    lacking: str = ""


@dataclass(frozen=True)
class Mean:
    """The mean over replicates with Student's 95 % interval (see `student_interval`).

    If a replicate is infinite, the value is the median and the interval is the range of the replicates.

    Attributes:
        measure: one value per replicate.
        needs: a description of the runs that the measure needs, for messages.
    """

    measure: Statistic
    needs: str

    def __call__(self, runs: pd.DataFrame) -> Estimate:
        """The estimate from these runs."""
        values = self.measure(runs).astype(float)
        return _student(values, self.needs, float(values.abs().max()))


@dataclass(frozen=True)
class GeometricMean:
    """The geometric mean over replicates, for positive quantities that span decades.

    Mean and Student interval of the logarithms, exponentiated. Attributes as in `Mean`.
    """

    measure: Statistic
    needs: str

    def __call__(self, runs: pd.DataFrame) -> Estimate:
        """The estimate from these runs."""
        values = self.measure(runs).astype(float)
        if (values <= 0).any():
            return _lacking(values, f"not all replicates are positive (minimum {values.min():.3g})")
        logarithm = _student(values.map(np.log), self.needs, 1.0)
        with np.errstate(over="ignore"):  # an interval may reach to infinity
            value, low, high = np.exp([logarithm.value, logarithm.low, logarithm.high]).tolist()
        basis = logarithm.basis.replace("mean", "geometric mean")
        return replace(logarithm, value=value, low=low, high=high, basis=basis)


@dataclass(frozen=True)
class Share:
    """The share of replicates with outcome 1 (of 0 and 1), with the exact binomial 95 % interval.

    For outcomes such as "the training stayed stable". Source: Clopper and Pearson 1934. The interval has
    positive length even if all outcomes agree: three of three give 0.29 … 1. Attributes as in `Mean`.
    """

    measure: Statistic
    needs: str

    def __call__(self, runs: pd.DataFrame) -> Estimate:
        """The estimate from these runs.

        Raises:
            ValueError: a value is neither 0, 1 nor NaN.
        """
        values = self.measure(runs).astype(float)
        if not values.dropna().isin([0.0, 1.0]).all():
            raise ValueError(f"outcomes must be 0 or 1, got {sorted(set(values))}")
        lacking = _missing(values, self.needs)
        if lacking:
            return _lacking(values, lacking)
        interval = scipy.stats.binomtest(int(values.sum()), len(values)).proportion_ci(CONFIDENCE, "exact")
        basis = f"the exact binomial interval of {int(values.sum())} of {len(values)}"
        return Estimate(float(values.mean()), interval.low, interval.high, len(values), basis)


@dataclass(frozen=True)
class Exact:
    """A computed quantity without randomness, with its numerical error.

    Example: λ_min(Θ_∞) on given data. The values are cases (data sets, sizes), and the claim is about each of
    them. The interval is [min(value − error), max(value + error)], the value is the median of the cases. So
    a claim stays inconclusive if a value is within its error of a bound.

    Attributes:
        measure: one value per case.
        error: the numerical error of each case, with the same index.
        needs: a description of the runs that the measure needs, for messages.
    """

    measure: Statistic
    error: Statistic
    needs: str

    def __call__(self, runs: pd.DataFrame) -> Estimate:
        """The estimate from these runs."""
        values, errors = self.measure(runs).astype(float), self.error(runs).astype(float)
        errors = errors.reindex(values.index)
        lacking = _missing(values + errors, self.needs, least=1)
        if lacking:
            return _lacking(values, lacking)
        low, high = float((values - errors).min()), float((values + errors).max())
        cases = "one case" if len(values) == 1 else f"all {len(values)} cases"
        return Estimate(
            float(values.median()), low, high, len(values), f"the value of {cases}, with its numerical error,"
        )


def student_interval(values: np.ndarray) -> tuple[float, float]:
    """Student's 95 % interval of the mean: mean ± t_{0.975, n−1} s/√n, s the standard deviation of n values.

    Args:
        values: float64 (n,), n ≥ 2, independent and finite.

    >>> [round(end, 3) for end in student_interval(np.array([0.9, 1.0, 1.1]))]
    [0.752, 1.248]
    """
    with warnings.catch_warnings():
        # scipy warns of values that differ by rounding alone; callers decide what to do with these.
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)


def _student(values: pd.Series, needs: str, scale: float) -> Estimate:
    """Mean and Student interval; no interval if the replicates differ by rounding errors of `scale` only."""
    lacking = _missing(values, needs)
    if lacking:
        return _lacking(values, lacking)
    n = len(values)
    if not np.isfinite(values).all():
        infinite = int(np.isinf(values).sum())
        return Estimate(
            float(values.median()),
            float(values.min()),
            float(values.max()),
            n,
            f"the range of {n} replicates, {infinite} of them infinite,",
        )
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread <= SAME * scale:
        return Estimate(
            mean,
            math.nan,
            math.nan,
            n,
            lacking=f"all {n} replicates are equal: the seed does not change them",
        )
    low, high = student_interval(values.to_numpy())
    return Estimate(mean, low, high, n, f"the 95 % interval of the mean of {n} replicates")


def _missing(values: pd.Series, needs: str, least: int = LEAST_REPLICATES) -> str:
    """The reason why the replicates give no interval; empty if they give one."""
    unmeasured = [str(name) for name in values.index[values.isna()]]
    if values.empty:
        return f"no replicate: this needs {needs}"
    if unmeasured:
        names = ", ".join(unmeasured[:5]) + (", …" if len(unmeasured) > 5 else "")
        return f"{len(unmeasured)} of {len(values)} replicates could not be measured ({names})"
    if len(values) < least:
        return f"only {len(values)} of the {least} replicates that an interval needs"
    return ""


def _lacking(values: pd.Series, why: str) -> Estimate:
    measured = values.dropna()
    mean = float(measured.mean()) if len(measured) else math.nan
    return Estimate(mean, math.nan, math.nan, len(measured), lacking=why)
