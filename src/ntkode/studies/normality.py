"""Normality tests of many samples at once: Lilliefors, Anderson–Darling, and Holm's correction.

Each column is one sample of M independent values. Because its mean and variance are estimated, the statistics
have under normality the distributions of Lilliefors (1967) and Stephens (1974), not those of the plain tests.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

AD_CRITICAL = 0.752
"""The 95 % quantile of the adjusted Anderson–Darling statistic of normal samples (Stephens 1974)."""


def standardised(samples: Floats) -> Floats:
    """The columns of `samples`, shape (M, T), minus their means, divided by their standard deviations."""
    deviations: Floats = samples - samples.mean(0)
    return deviations / samples.std(0, ddof=1)


def kolmogorov_distances(samples: Floats) -> Floats:
    """The Kolmogorov distance sup |F_M − Φ| of each column of `samples`, shape (M, T) → (T,)."""
    m = len(samples)
    cdf = stats.norm.cdf(np.sort(samples, axis=0))
    above = np.arange(1, m + 1)[:, None] / m - cdf
    distances: Floats = np.maximum(above, 1 / m - above).max(0)
    return distances


def lilliefors_p(distances: Floats, m: int) -> Floats:
    """p-values, shape (T,), of Kolmogorov distances of standardised samples of size `m`.

    By the approximation of Dallal and Wilkinson (1986): p-values below 0.1 are accurate to 0.01; of larger
    ones only p ≥ 0.1 holds.
    """
    scaled = distances * (m / 100) ** 0.49 if m > 100 else distances
    n = min(m, 100)
    exponent = (
        -7.01256 * scaled**2 * (n + 2.78019)
        + 2.99587 * scaled * np.sqrt(n + 2.78019)
        - 0.122119
        + 0.974598 / np.sqrt(n)
        + 1.67997 / n
    )
    # For small distances, where p is large, the fitted parabola decreases again.
    peak = 2.99587 / (2 * 7.01256 * np.sqrt(n + 2.78019))
    return np.where(scaled > peak, np.minimum(np.exp(exponent), 1.0), 1.0)


def anderson_darling(samples: Floats) -> Floats:
    """The adjusted Anderson–Darling statistics A²(1 + 0.75/M + 2.25/M²) of standardised columns."""
    m = len(samples)
    ordered = np.sort(samples, axis=0)
    weights = (2 * np.arange(1, m + 1)[:, None] - 1) / m
    squared = -m - (weights * (stats.norm.logcdf(ordered) + stats.norm.logsf(ordered[::-1]))).sum(0)
    adjusted: Floats = squared * (1 + 0.75 / m + 2.25 / m**2)
    return adjusted


def anderson_darling_p(adjusted: Floats) -> Floats:
    """p-values of adjusted Anderson–Darling statistics (D'Agostino and Stephens 1986, table 4.9)."""
    a = np.minimum(adjusted, 150.0)  # p is 0 to all digits there; beyond, the parabola increases again
    p: Floats = np.select(
        [a < 0.2, a < 0.34, a < 0.6],
        [
            1 - np.exp(-13.436 + 101.14 * a - 223.73 * a**2),
            1 - np.exp(-8.318 + 42.796 * a - 59.938 * a**2),
            np.exp(0.9177 - 4.279 * a - 1.38 * a**2),
        ],
        np.exp(1.2937 - 5.709 * a + 0.0186 * a**2),
    )
    return np.clip(p, 0.0, 1.0)


def holm(p: Floats) -> Floats:
    """Holm's adjusted p-values (1979), shape (T,).

    Rejecting all below 5 % bounds the family-wise error by 5 %, however the tests depend on each other.
    """
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
