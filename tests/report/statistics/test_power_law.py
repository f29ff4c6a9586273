"""Power laws fitted over seeds."""

import math

import numpy as np
import pandas as pd
import pytest

from ntkode.report.statistics.power_law import fit_power_law

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


def test_one_seed_has_the_regressions_interval():
    one = points((1.0, -0.5))
    one["y"] *= np.array([1.1, 1 / 1.1, 1 / 1.1, 1.1])
    law = fit_power_law(one)
    x, y = np.log(one["x"]), np.log(one["y"])
    residuals = y - np.polyval(np.polyfit(x, y, 1), x)
    error = math.sqrt((residuals**2).sum() / 2 / ((x - x.mean()) ** 2).sum())
    assert law.half_width == pytest.approx(4.302653 * error)
    assert law.seeds == 1


def test_the_interval_covers_as_often_as_it_says():
    random, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        slopes = -0.5 + 0.05 * random.normal(size=5)
        law = fit_power_law(points(*((1.0, slope) for slope in slopes)))
        covered += abs(law.slope + 0.5) <= law.half_width
    assert covered == pytest.approx(950, abs=28)  # four standard errors of a binomial count


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
