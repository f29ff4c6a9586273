"""Normality tests: p-values against Monte Carlo, and deviations that they must detect."""

import numpy as np
import pytest
from scipy import stats

from ntkode.studies.normality import (
    AD_CRITICAL,
    anderson_darling,
    anderson_darling_p,
    holm,
    kolmogorov_distances,
    lilliefors_p,
    standardised,
)

M, SAMPLES = 400, 4000


@pytest.fixture(scope="module")
def normal():
    """Normal samples with mean and variance other than 0 and 1."""
    return standardised(3 + 5 * np.random.default_rng(0).standard_normal((M, SAMPLES)))


def test_statistics_are_scipys(normal):
    few = normal[:, :5]
    for distance, column in zip(kolmogorov_distances(few), few.T, strict=True):
        assert distance == pytest.approx(stats.kstest(column, "norm").statistic)
    for adjusted, column in zip(anderson_darling(few), few.T, strict=True):
        # SciPy uses the same mean and standard deviation, and does not adjust the statistic.
        plain = stats.goodness_of_fit(
            stats.norm, column, known_params={"loc": 0, "scale": 1}, statistic="ad", n_mc_samples=1
        ).statistic
        assert adjusted == pytest.approx(plain * (1 + 0.75 / M + 2.25 / M**2), rel=1e-9)


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1])
def test_p_values_are_uniform_for_normal_samples(normal, level):
    for p in (lilliefors_p(kolmogorov_distances(normal), M), anderson_darling_p(anderson_darling(normal))):
        # Three standard errors of a share of 4,000 samples, plus the error of the fits, a tenth.
        error = 3 * np.sqrt(level * (1 - level) / SAMPLES) + 0.1 * level
        assert (p < level).mean() == pytest.approx(level, abs=error)


def test_the_critical_value_is_exceeded_by_one_in_twenty(normal):
    assert (anderson_darling(normal) > AD_CRITICAL).mean() == pytest.approx(0.05, abs=0.011)
    assert anderson_darling_p(np.array([AD_CRITICAL])) == pytest.approx(0.05, abs=0.002)


def test_p_values_fall_with_the_statistic():
    grid = np.linspace(0.01, 500, 20_000)
    p = anderson_darling_p(grid)
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) <= 1e-3).all()  # the pieces of the fit agree to 1e-3
    p = lilliefors_p(np.linspace(0.001, 0.5, 1000), 4000)
    assert (np.diff(p) <= 0).all()
    assert p[-1] < 1e-12


@pytest.mark.parametrize("law", [stats.t(5), stats.uniform(), stats.expon()])
def test_other_laws_are_rejected(law):
    samples = standardised(law.rvs((4000, 5), random_state=0))
    assert (anderson_darling_p(anderson_darling(samples)) < 1e-3).all()
    assert (lilliefors_p(kolmogorov_distances(samples), 4000) < 1e-2).all()


def test_holms_correction():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]


def test_holm_keeps_the_error_of_the_family():
    generator = np.random.default_rng(1)
    false = sum((holm(generator.uniform(size=20)) < 0.05).any() for _ in range(2000))
    assert false / 2000 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
