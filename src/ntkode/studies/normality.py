"""Tests of normality for many samples at once: Lilliefors' and Anderson and Darling's, and Holm's correction.

Each column is one sample of M independent values. Mean and variance are estimated from it, so that the
statistics' laws under normality are those of Lilliefors (1967) and Stephens (1974), not of the plain tests.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

AD_CRITICAL = 0.752
"""What Anderson and Darling's adjusted statistic exceeds in 5 % of normal samples (Stephens 1974)."""


def standardised(samples: Floats) -> Floats:
    """The columns of `samples`, shape (M, T), less their means and over their standard deviations."""
    deviations: Floats = samples - samples.mean(0)
    return deviations / samples.std(0, ddof=1)


def kolmogorov_distances(samples: Floats) -> Floats:
    """sup |F_M − Φ| of each column of `samples`, shape (M, T) → (T,)."""
    m = len(samples)
    cdf = stats.norm.cdf(np.sort(samples, axis=0))
    above = np.arange(1, m + 1)[:, None] / m - cdf
    distances: Floats = np.maximum(above, 1 / m - above).max(0)
    return distances


def lilliefors_p(distances: Floats, m: int) -> Floats:
    """The p-values of Kolmogorov distances of standardised samples of size `m`; exact to 0.01 below 0.1.

    Larger ones are only known to be larger, and told as at least 0.1 (Dallal and Wilkinson 1986).
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
    # The fit turns down again for small distances, where p is large.
    peak = 2.99587 / (2 * 7.01256 * np.sqrt(n + 2.78019))
    return np.where(scaled > peak, np.minimum(np.exp(exponent), 1.0), 1.0)


def anderson_darling(samples: Floats) -> Floats:
    """Anderson and Darling's A² of standardised columns, times 1 + 0.75/M + 2.25/M² for their size."""
    m = len(samples)
    ordered = np.sort(samples, axis=0)
    weights = (2 * np.arange(1, m + 1)[:, None] - 1) / m
    squared = -m - (weights * (stats.norm.logcdf(ordered) + stats.norm.logsf(ordered[::-1]))).sum(0)
    adjusted: Floats = squared * (1 + 0.75 / m + 2.25 / m**2)
    return adjusted


def anderson_darling_p(adjusted: Floats) -> Floats:
    """The p-values of adjusted statistics (D'Agostino and Stephens 1986, table 4.9)."""
    a = np.minimum(adjusted, 150.0)  # where p is 0 to all digits, and the parabola soon turns up
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
    """Holm's adjusted p-values (1979): all below 5 % may be called so at once, however the tests depend."""
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
