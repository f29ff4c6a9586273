"""What runs tell of a quantity: its value, a 95 % interval, and what stands in the way of one.

A *measure* makes one value of each independent replicate (a seed) from the runs. Values of one replicate, at
several widths say, are not independent: fit or compare them within the replicate, then count replicates.

Nothing is left out silently. A replicate that could not be measured (NaN) makes the evidence lacking, since
which ones fail may hang on what they would have shown. An outcome such as divergence, which is itself what a
claim is about, is a value: 0 of `Share`, or infinite.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy  # its parts load when they are used: scipy.stats takes as long as pandas

CONFIDENCE = 0.95
LEAST_REPLICATES = 3
SAME = 1e-12
"""Relative scatter under which replicates do not differ but for rounding."""

Statistic = Callable[[pd.DataFrame], pd.Series]
"""From runs (see `ntkode.results.load`) to one value a replicate, its index naming the replicates."""


@dataclass(frozen=True)
class Estimate:
    """An estimate and its interval.

    Attributes:
        estimate: of the quantity; NaN where nothing was measured.
        low: the interval's lower end, NaN where there is no interval.
        high: its upper end.
        replicates: the number of independent values that it rests on.
        basis: what the interval is, to begin a sentence with.
        lacking: why nothing can be decided; empty where it can.
    """

    estimate: float
    low: float
    high: float
    replicates: int
    basis: str = ""
    lacking: str = ""


@dataclass(frozen=True)
class Mean:
    """The mean over replicates with Student's 95 % interval, `needs` saying which runs the measure takes.

    Where a replicate is infinite there is no mean, and the range of all replicates is the interval.
    """

    measure: Statistic
    needs: str

    def __call__(self, runs: pd.DataFrame) -> Estimate:
        """See `Estimate`."""
        values = self.measure(runs).astype(float)
        return _student(values, self.needs, float(values.abs().max()))


@dataclass(frozen=True)
class GeometricMean:
    """As `Mean`, for positive quantities that span decades: mean and interval of the logarithms, raised."""

    measure: Statistic
    needs: str

    def __call__(self, runs: pd.DataFrame) -> Estimate:
        """See `Estimate`."""
        values = self.measure(runs).astype(float)
        if (values <= 0).any():
            return _lacking(values, f"not all replicates are positive (least {values.min():.3g})")
        found = _student(values.map(np.log), self.needs, 1.0)
        with np.errstate(over="ignore"):  # an interval may reach to infinity
            estimate, low, high = np.exp([found.estimate, found.low, found.high]).tolist()
        return Estimate(
            estimate,
            low,
            high,
            found.replicates,
            found.basis.replace("mean", "geometric mean"),
            found.lacking,
        )


@dataclass(frozen=True)
class Share:
    """The share of replicates of which something is true (1, or 0), with the exact binomial 95 % interval.

    For outcomes: whether a training stayed stable, whether a test passed. Unlike Student's, its interval is
    no point where all outcomes agree (Clopper and Pearson 1934): three of three leave 0.29 … 1.
    """

    measure: Statistic
    needs: str

    def __call__(self, runs: pd.DataFrame) -> Estimate:
        """See `Estimate`.

        Raises:
            ValueError: a value that is neither 0, 1 nor NaN.
        """
        values = self.measure(runs).astype(float)
        if not values.dropna().isin([0.0, 1.0]).all():
            raise ValueError(f"outcomes are 0 or 1, not {sorted(set(values))}")
        lacking = _missing(values, self.needs)
        if lacking:
            return _lacking(values, lacking)
        interval = scipy.stats.binomtest(int(values.sum()), len(values)).proportion_ci(CONFIDENCE, "exact")
        basis = f"the exact binomial interval of {int(values.sum())} of {len(values)}"
        return Estimate(float(values.mean()), interval.low, interval.high, len(values), basis)


@dataclass(frozen=True)
class Exact:
    """A computed quantity that does not vary over seeds, by its stated numerical error.

    λ_min(Θ_∞) on given data is one: its replicates (data draws, sizes) are cases, and the claim is on each.
    The interval runs from the least value less its error to the greatest plus its error, and the estimate is
    the median of the cases. A value within its error of a bound decides nothing, as it should.

    Attributes:
        measure: one value a case.
        error: the numerical error of each, with the same index.
        needs: which runs the measure takes.
    """

    measure: Statistic
    error: Statistic
    needs: str

    def __call__(self, runs: pd.DataFrame) -> Estimate:
        """See `Estimate`."""
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


def _student(values: pd.Series, needs: str, scale: float) -> Estimate:
    """Student's interval; of replicates that differ by rounding of numbers of size `scale` there is none."""
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
            mean, math.nan, math.nan, n, lacking=f"all {n} replicates are the same: seeds do not vary it"
        )
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * spread / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n, f"the 95 % interval of the mean of {n} replicates")


def _missing(values: pd.Series, needs: str, least: int = LEAST_REPLICATES) -> str:
    """Why the replicates do not allow an interval; empty where they do."""
    unmeasured = [str(name) for name in values.index[values.isna()]]
    if values.empty:
        return f"no replicate: it takes {needs}"
    if unmeasured:
        told = ", ".join(unmeasured[:5]) + (", …" if len(unmeasured) > 5 else "")
        return f"{len(unmeasured)} of {len(values)} replicates could not be measured ({told})"
    if len(values) < least:
        return f"only {len(values)} of the {least} replicates that an interval takes"
    return ""


def _lacking(values: pd.Series, why: str) -> Estimate:
    measured = values.dropna()
    estimate = float(measured.mean()) if len(measured) else math.nan
    return Estimate(estimate, math.nan, math.nan, len(measured), lacking=why)
