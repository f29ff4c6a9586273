"""Estimates from one value a replicate, each against a slow computation from its definition."""

import math
import statistics
import warnings

import numpy as np
import pandas as pd
import pytest

from ntkode.report.statistics.intervals import Exact, GeometricMean, Mean, Share, student_interval

T_OF_3 = 4.3026527  # Student's 0.975 quantile with 2 degrees of freedom


def values(*given):
    """Runs with one value a replicate; the replicates are named a, b, …"""
    return pd.DataFrame({"y": given}, index=[chr(ord("a") + number) for number in range(len(given))])


def y(runs):
    return runs["y"]


MEAN, GEOMETRIC_MEAN, SHARE = (kind(y, "some runs") for kind in (Mean, GeometricMean, Share))


def test_the_mean_of_skewed_values_has_students_interval():
    given = [1.0, 2.0, 6.0]
    estimate = MEAN(values(*given))
    half = T_OF_3 * statistics.stdev(given) / math.sqrt(3)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((3, 3 - half, 3 + half))


def test_values_that_differ_by_rounding_raise_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = student_interval(np.array([1.0, 1 + 3e-16, 1 - 1e-16]))
        with pytest.raises(RuntimeWarning):  # those of others stay as they were
            warnings.warn("made up", RuntimeWarning, stacklevel=1)
    assert low <= 1 <= high


def test_the_geometric_mean_has_the_interval_of_the_mean_logarithm():
    given = [1e-6, 1e-5, 1e-3]
    estimate = GEOMETRIC_MEAN(values(*given))
    factor = math.exp(T_OF_3 * statistics.stdev(map(math.log, given)) / math.sqrt(3))
    assert estimate.value == pytest.approx(statistics.geometric_mean(given))
    assert estimate.low == pytest.approx(estimate.value / factor)
    assert estimate.high == pytest.approx(estimate.value * factor)
    assert estimate.replicates == 3
    assert estimate.basis == "the 95 % interval of the geometric mean of 3 replicates"


def test_a_geometric_mean_names_the_minimum_that_prevents_it():
    estimate = GEOMETRIC_MEAN(values(3.0, -2.0, 1.0, 0.0))
    assert "minimum -2)" in estimate.lacking
    assert math.isnan(estimate.low)


@pytest.mark.parametrize("estimator", [MEAN, GEOMETRIC_MEAN])
@pytest.mark.parametrize("factor", [1e9, 1.0, 1e-20])
def test_rounding_is_no_scatter_at_any_magnitude(estimator, factor):
    rounded = values(factor, factor * (1 + 2e-16), factor * (1 - 2e-16))
    assert rounded["y"].nunique() == 3
    assert "are equal" in estimator(rounded).lacking
    assert math.isnan(estimator(rounded).low)
    scattered = estimator(values(factor, 1.1 * factor, 1.2 * factor))
    assert not scattered.lacking
    assert scattered.low < 1.1 * factor < scattered.high


@pytest.mark.parametrize("estimator", [MEAN, GEOMETRIC_MEAN])
def test_replicates_are_equal_up_to_a_relative_standard_deviation_of_1e_12(estimator):
    for deviation, equal in ((0.99e-12, True), (1.01e-12, False)):
        estimate = estimator(values(1 - deviation, 1.0, 1 + deviation))
        assert bool(estimate.lacking) == equal
        assert bool(estimate.basis) != equal


def test_the_magnitude_of_negative_values_counts_too():
    assert MEAN(values(-1e9, -1e9 * (1 + 2e-16), -1e9 * (1 - 2e-16))).lacking
    assert not MEAN(values(-1.0, -1.1, -1.2)).lacking


def test_zeros_alone_have_no_interval():
    estimate = MEAN(values(0.0, 0.0, 0.0))
    assert estimate.lacking
    assert (estimate.value, estimate.replicates) == (0, 3)


def test_infinite_values_give_the_median_and_the_range():
    estimate = MEAN(values(1.0, 2.0, math.inf, 5.0))
    assert (estimate.value, estimate.low, estimate.high, estimate.replicates) == (3.5, 1, math.inf, 4)
    assert "range of 4 replicates, 1 of them infinite" in estimate.basis
    estimate = GEOMETRIC_MEAN(values(1.0, 4.0, math.inf))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((4, 1, math.inf))


@pytest.mark.parametrize(("ones", "of"), [(3, 7), (1, 5), (4, 4)])
def test_each_end_of_a_shares_interval_leaves_a_tail_of_one_fortieth(ones, of):
    def probability(share, counts):
        return sum(math.comb(of, count) * share**count * (1 - share) ** (of - count) for count in counts)

    estimate = SHARE(values(*[1.0] * ones, *[0.0] * (of - ones)))
    assert (estimate.value, estimate.replicates, estimate.lacking) == (ones / of, of, "")
    assert probability(estimate.low, range(ones, of + 1)) == pytest.approx(0.025)
    if ones < of:
        assert probability(estimate.high, range(ones + 1)) == pytest.approx(0.025)
    assert f"{ones} of {of}" in estimate.basis


def test_a_share_takes_three_outcomes_all_of_them_measured():
    assert "only 2 of the 3" in SHARE(values(1.0, 0.0)).lacking
    estimate = SHARE(values(1.0, 0.0, 0.0, math.nan, 0.0))
    assert "(d)" in estimate.lacking
    assert (estimate.value, estimate.replicates) == (0.25, 4)
    assert "needs some runs" in SHARE(values()).lacking


def exact(errors):
    return Exact(y, lambda runs: pd.Series(errors), "some runs")


def test_the_interval_of_exact_values_includes_each_ones_error():
    estimate = exact({"d": 0.3, "c": 0.1, "b": 0.5, "a": 4.0})(values(3.0, 1.0, 2.0, 10.0))
    assert (estimate.low, estimate.high) == pytest.approx((-1, 10.3))  # 3 − 4, which is less than 1 − 0.5
    assert estimate.value == 2.5
    assert estimate.replicates == 4
    assert estimate.basis == "the value of all 4 cases, with its numerical error,"
    assert exact({"a": 1.0})(values(3.0)).basis == "the value of one case, with its numerical error,"


def test_an_exact_value_without_an_error_has_no_interval():
    for errors in ({"a": 0.1}, {"a": 0.1, "b": math.nan}, {"a": 0.1, "c": 0.1}):
        estimate = exact(errors)(values(1.0, 3.0))
        assert "1 of 2 replicates could not be measured (b)" in estimate.lacking
        assert estimate.value == 2
    assert "(b)" in exact({"a": 0.1, "b": 0.1})(values(1.0, math.nan)).lacking
    assert "needs some runs" in exact({"a": 0.1})(values()).lacking


@pytest.mark.parametrize(("estimator", "value"), [(MEAN, 2.5), (GEOMETRIC_MEAN, 2.0)])
def test_replicates_without_an_interval_still_have_a_value(estimator, value):
    estimate = estimator(values(1.0, math.nan, 4.0))
    assert (estimate.value, estimate.replicates) == (pytest.approx(value), 2)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
    estimate = estimator(values(math.nan, math.nan))
    assert (math.isnan(estimate.value), estimate.replicates) == (True, 0)


def test_at_most_five_unmeasured_replicates_are_named():
    nan = [math.nan] * 5
    assert "(a, b, c, d, e)" in MEAN(values(*nan, 1.0)).lacking
    assert "(a, b, c, d, e, …)" in MEAN(values(*nan, math.nan)).lacking


def test_unmeasured_replicates_may_have_numbers_as_names():
    runs = pd.DataFrame({"y": [math.nan, 1.0, math.nan]}, index=[5, 6, 7])
    assert "2 of 3 replicates could not be measured (5, 7)" in MEAN(runs).lacking


@pytest.mark.parametrize("kind", [Mean, GeometricMean, Share])
def test_a_missing_value_may_be_none(kind):
    def measure(runs):
        return pd.Series([1.0, None, 1], index=["a", "b", "c"], dtype=object)

    assert "1 of 3 replicates could not be measured (b)" in kind(measure, "runs")(values()).lacking
    assert "(b)" in Exact(measure, y, "runs")(values(0.1, 0.2, 0.3)).lacking
    assert "(b)" in Exact(y, measure, "runs")(values(0.1, 0.2, 0.3)).lacking


def test_an_outcome_that_is_neither_0_nor_1_is_refused_beside_a_missing_one():
    with pytest.raises(ValueError, match="outcomes must be 0 or 1"):
        Share(lambda runs: pd.Series([1.0, 0.5, None], dtype=object), "runs")(values())


@pytest.mark.parametrize(
    "estimate",
    [
        *(MEAN(values(1.0, 2.0, 6.0)), MEAN(values(1.0, 2.0, math.inf)), MEAN(values(1.0, 1.0, 1.0))),
        *(MEAN(values(1.0, math.nan)), GEOMETRIC_MEAN(values(1.0, 2.0, 6.0)), SHARE(values(1.0, 0.0, 0.0))),
        exact({"a": 0.1, "b": 0.2})(values(1.0, 3.0)),
    ],
)
def test_the_numbers_of_an_estimate_are_of_pythons_types(estimate):
    assert [type(number) for number in (estimate.value, estimate.low, estimate.high)] == [float] * 3
    assert type(estimate.replicates) is int


def test_students_interval_covers_as_often_as_it_says():
    random, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        low, high = student_interval(-0.5 + 0.05 * random.normal(size=5))
        covered += low <= -0.5 <= high
    assert covered == pytest.approx(950, abs=28)  # four standard errors of a binomial count
