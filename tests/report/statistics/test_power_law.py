"""Power laws fitted over seeds."""

import math

import numpy as np
import pandas as pd
import pytest

from ntkode.report.statistics.power_law import PowerLaw, fit_exponent, fit_power_law

SIZES = np.array([64.0, 128.0, 256.0, 512.0])


def points(*seeds):
    """One law C x^slope a seed, from (C, slope)."""
    frames = [
        pd.DataFrame({"x": SIZES, "y": c * SIZES**slope, "seed": seed})
        for seed, (c, slope) in enumerate(seeds)
    ]
    return pd.concat(frames, ignore_index=True)


def test_an_exact_law_is_recovered_for_any_constants_of_the_seeds():
    law = fit_power_law(points((1.0, -0.5), (3.0, -0.5), (9.0, -0.5)))
    assert law.slope == pytest.approx(-0.5, abs=1e-12)
    assert law.half_width == pytest.approx(0, abs=1e-12)
    assert law.end_slope == pytest.approx(-0.5, abs=1e-12)
    assert law.seeds == 3
    assert law(100.0) == pytest.approx(3 * 100**-0.5)


def test_the_interval_is_students_over_the_seeds_slopes():
    law = fit_power_law(points((1.0, -0.4), (1.0, -0.5), (1.0, -0.6)))
    assert law.slope == pytest.approx(-0.5)
    assert law.half_width == pytest.approx(4.302653 * 0.1 / math.sqrt(3))  # t of 2 degrees of freedom


def test_two_seeds_have_an_interval():
    law = fit_power_law(points((1.0, -0.4), (1.0, -0.6)))
    assert law.half_width == pytest.approx(12.706205 * 0.1)  # t of 1 degree of freedom
    assert law.seeds == 2


def test_one_seed_has_the_regressions_interval():
    one = points((1.0, -0.5))
    one["y"] *= np.array([1.1, 1 / 1.1, 1 / 1.1, 1.1])
    law = fit_power_law(one)
    x, y = np.log(one["x"]), np.log(one["y"])
    residuals = y - np.polyval(np.polyfit(x, y, 1), x)
    error = math.sqrt((residuals**2).sum() / 2 / ((x - x.mean()) ** 2).sum())
    assert law.half_width == pytest.approx(4.302653 * error)
    assert law.seeds == 1


@pytest.mark.parametrize("sizes", [1, 0])
def test_too_few_sizes_give_no_slope(sizes):
    law = fit_power_law(points((1.0, -0.5)).head(sizes))
    assert math.isnan(law.slope)
    assert math.isnan(law.end_slope)


def test_a_seed_that_lacks_a_size_still_counts():
    law = fit_power_law(points((1.0, -0.4), (1.0, -0.6)).drop(index=7))
    assert law.slope == pytest.approx(-0.5)
    assert law.end_slope == pytest.approx(-0.4)  # of the seed that has both


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ([(1.0, -0.4), (1.0, -0.5), (1.0, -0.6)], "−0.50 ± 0.25"),
        ([(1.0, -0.999), (1.0, -1.0), (1.0, -1.001)], "−1.000 ± 0.002"),
        ([(1.0, -1.0)], "−1.00"),
    ],
)
def test_as_text(seeds, text):
    law = fit_power_law(points(*seeds) if len(seeds) > 1 else points(*seeds).iloc[[0, 3]])
    assert str(law) == text


def test_each_seeds_line_is_that_of_least_squares():
    random, frames = np.random.default_rng(0), []
    for seed in range(3):
        x = np.array([16.0, 32.0, 64.0, 100.0, 300.0])
        frames.append(
            pd.DataFrame({"x": x, "y": 5 * x**-0.7 * np.exp(0.3 * random.normal(size=5)), "seed": seed})
        )
    law = fit_power_law(pd.concat(frames).sample(frac=1, random_state=0))
    lines = [np.polyfit(np.log(frame["x"]), np.log(frame["y"]), 1) for frame in frames]
    ends = [math.log(frame["y"][4] / frame["y"][3]) / math.log(3) for frame in frames]
    slope, log_c = np.mean(lines, axis=0)
    assert (law.slope, law.log_c, law.end_slope) == pytest.approx((slope, log_c, np.mean(ends)))
    assert (law.seeds, law.least) == (3, 16)


def test_without_a_slope_the_seeds_are_still_counted():
    law = fit_power_law(points((1.0, -0.5), (1.0, -0.4)).iloc[[0, 4]])
    assert (law.seeds, law.least) == (2, 64)
    assert all(math.isnan(number) for number in (law.slope, law.half_width, law.log_c, law.end_slope))
    assert str(law) == "nan"


@pytest.mark.filterwarnings("error")
def test_the_last_two_sizes_have_no_slope_where_no_seed_has_both():
    both = points((1.0, -0.5), (1.0, -0.7))
    law = fit_power_law(both.drop(index=[3, 6]))  # one lacks the largest, the other the one before
    assert law.slope == pytest.approx(-0.6)
    assert math.isnan(law.end_slope)


def test_several_points_of_a_size_are_all_fitted():
    twice = pd.concat([points((1.0, -0.5)), points((math.e, -0.5))])
    law = fit_power_law(twice.assign(seed=0))
    assert (law.slope, law.log_c) == pytest.approx((-0.5, 0.5))
    # Residuals of ±1/2 at 8 points, and Student's quantile of 6 degrees of freedom.
    x = np.log(SIZES)
    assert law.half_width == pytest.approx(
        2.4469119 * math.sqrt(8 / 4 / 6 / (2 * ((x - x.mean()) ** 2).sum()))
    )


@pytest.mark.parametrize("sizes", [2, 3, 4])
def test_points_of_a_seed_with_one_size_do_not_narrow_the_interval(sizes):
    """Two sizes of the fitted seed leave nothing to tell an interval from, whatever other seeds have."""
    one = points((1.0, -0.5)).head(sizes)
    one["y"] *= np.array([1.1, 0.9, 1.0, 1.2])[:sizes]
    alone = fit_power_law(one)
    beside = fit_power_law(pd.concat([one, points((1.0, -0.5), (3.0, -0.5)).iloc[[4]]]))
    assert beside.half_width == pytest.approx(alone.half_width, nan_ok=True)
    assert math.isnan(alone.half_width) == (sizes == 2)
    assert str(beside) == str(alone)


@pytest.mark.parametrize(
    ("slope", "half_width", "text", "order"),
    [
        (-0.5, 0.25, "−0.50 ± 0.25", "0.50 ± 0.25"),
        (-0.5, 0.004, "−0.500 ± 0.004", "0.500 ± 0.004"),
        (1.25, 2.5, "1.25 ± 2.50", "−1.25 ± 2.50"),
        (-2.0, 0.0, "−2.00", "2.00"),
        (-2.0, math.nan, "−2.00", "2.00"),
    ],
)
def test_an_exponent_has_the_decimals_that_its_interval_leaves(slope, half_width, text, order):
    law = PowerLaw(slope, half_width, 0.0, slope, 3, 1.0)
    assert (str(law), law.order) == (text, order)


@pytest.mark.parametrize("sizes", [2, 3, 7])
def test_the_exponent_alone_is_that_of_the_law_bit_for_bit(sizes):
    random = np.random.default_rng(sizes)
    one = pd.DataFrame({"x": random.uniform(1, 9, sizes), "y": random.uniform(1, 9, sizes), "seed": 0})
    assert fit_exponent(one["x"], one["y"]) == fit_power_law(one).slope


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_numbers_of_a_law_are_of_pythons_types(seeds):
    law = fit_power_law(points(*[(1.0, -0.5), (1.0, -0.4), (1.0, -0.6)][:seeds]))
    numbers = (law.slope, law.half_width, law.log_c, law.end_slope, law.least, law(2.0))
    assert [type(number) for number in numbers] == [float] * 6
    assert type(fit_exponent(pd.Series([1.0, 2.0]), pd.Series([1.0, 3.0]))) is float


def test_the_exponent_of_one_size_is_not_known():
    assert math.isnan(fit_exponent(pd.Series([2.0, 2.0]), pd.Series([1.0, 3.0])))
