"""Claims on made-up results: supported, not supported, inconclusive, and what allows no verdict."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from ntkode.report.claims.claims import Above, Below, Claim, Claims, Verdict, Within
from ntkode.report.claims.verdicts import WithVerdicts, numbers, verdict_table
from ntkode.report.statistics.intervals import Exact, GeometricMean, Mean, Share
from ntkode.report.statistics.power_law import PowerLaw
from ntkode.report.statistics.replicates import difference, ratio, slope, value

TANH = {"config.choices.activation": "tanh"}


def made_up(values, status="done"):
    """A run a seed with this `error`; a list in place of a number: one each of several widths."""
    rows = []
    for seed, given in enumerate(values):
        for width, error in zip((64, 128, 256), given if isinstance(given, list) else [given], strict=False):
            rows.append({"config.seed": seed, "config.choices.activation": "tanh", "status": status})
            rows[-1] |= {"config.model.width": width, "error": error}
    return pd.DataFrame(rows)


def claim(estimator, expectation):
    return Claim("c", "the error is small", "nobody", "error", estimator, expectation)


def verdict(estimator, expectation, runs):
    return claim(estimator, expectation).judge(runs)


ERROR = Mean(value("error", TANH), "runs of tanh")
# Mean 1, standard deviation 0.1: Student's interval of 5 is 1 ± 2.776·0.1/√5.
FIVE = made_up(1 + 0.1 * np.array([-1, -1, 0, 1, 1]))
HALF = 2.7764451 * 0.1 / math.sqrt(5)


def test_the_interval_is_students():
    estimate = ERROR(FIVE)
    assert estimate.value == pytest.approx(1)
    assert (estimate.low, estimate.high) == pytest.approx((1 - HALF, 1 + HALF))
    assert estimate.replicates == 5


@pytest.mark.parametrize(
    ("expectation", "expected"),
    [
        (Within(0.8, 1.2), Verdict.SUPPORTED),
        (Above(0.8), Verdict.SUPPORTED),
        (Below(1.2), Verdict.SUPPORTED),
        (Within(0.2, 0.8), Verdict.NOT_SUPPORTED),
        (Within(1.2, 2), Verdict.NOT_SUPPORTED),
        (Above(1.2), Verdict.NOT_SUPPORTED),
        (Below(0.8), Verdict.NOT_SUPPORTED),
        (Within(0.95, 1.05), Verdict.INCONCLUSIVE),  # the interval holds all that is expected, and more
        (Within(1, 2), Verdict.INCONCLUSIVE),
        (Above(1.1), Verdict.INCONCLUSIVE),
        (Below(1.1), Verdict.INCONCLUSIVE),
    ],
)
def test_the_verdict_says_where_the_interval_lies(expectation, expected):
    assert verdict(ERROR, expectation, FIVE).verdict == expected


@pytest.mark.parametrize(
    ("expectation", "low", "high", "contains", "excludes"),
    [
        (Within(0, 1), 0, 1, True, False),  # closed: the bounds are expected values
        (Within(0, 1), 1, 2, False, False),
        (Within(0, 1), -1, 0, False, False),
        (Within(0, 1), 1.1, 2, False, True),
        (Within(0, 1), -1, -0.1, False, True),
        (Within(0, 1), -1, 2, False, False),
        (Above(0), 0.1, 1, True, False),
        (Above(0), 0, 1, False, False),  # open: the bound is not expected
        (Above(0), -1, 0, False, True),
        (Below(0), -1, -0.1, True, False),
        (Below(0), -1, 0, False, False),
        (Below(0), 0, 1, False, True),
    ],
)
def test_bounds_belong_to_ranges_but_not_to_half_lines(expectation, low, high, contains, excludes):
    assert expectation.contains(low, high) == contains
    assert expectation.excludes(low, high) == excludes


def test_expectations_as_text():
    texts = [str(expectation) for expectation in (Within(-1.25, 1 / 3), Above(-2 / 3), Below(2 / 3))]
    assert texts == ["−1.25 … 0.333", "> −0.667", "< 0.667"]


def test_a_judgement_holds_its_claim_and_estimate():
    positions = [
        (Above(0.8), "lies inside"),
        (Above(1.2), "lies outside"),
        (Above(1), "crosses a bound of"),
    ]
    for expectation, position in positions:
        small = claim(ERROR, expectation)
        judged = small.judge(FIVE)
        assert (judged.claim, judged.estimate) == (small, ERROR(FIVE))
        assert judged.reason == f"{judged.estimate.basis} {position} the expected range"
    assert [str(verdict) for verdict in Verdict] == ["supported", "not supported", "inconclusive"]


def test_more_seeds_can_decide_what_few_cannot():
    values = 1.04 + 0.1 * np.resize([-1, 0, 1], 30)
    assert verdict(ERROR, Above(1), made_up(values[:3])).verdict == Verdict.INCONCLUSIVE
    assert verdict(ERROR, Above(1), made_up(values)).verdict == Verdict.SUPPORTED


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (FIVE.iloc[:0], "no replicate: this needs runs of tanh"),
        (FIVE.drop(columns="config.choices.activation"), "no replicate"),
        (FIVE.assign(**{"config.choices.activation": "relu"}), "no replicate"),
        (FIVE.drop(columns="error"), "5 of 5 replicates could not be measured (seed 0, seed 1"),
        (made_up([1.0, 1.1]), "only 2 of the 3 replicates"),
        (made_up([1.0, 1.1, math.nan, 1.2]), "1 of 4 replicates could not be measured (seed 2)"),
        (made_up([1.0, 1.1, 1.2], status="diverged"), "3 of 3 replicates could not be measured"),
        (made_up([1.0, 1.0, 1.0]), "the seed does not change them"),
    ],
)
def test_what_allows_no_verdict_is_inconclusive_and_says_why(runs, reason):
    judgement = verdict(ERROR, Below(100), runs)
    assert judgement.verdict == Verdict.INCONCLUSIVE
    assert reason in judgement.reason


def test_a_run_that_failed_is_not_dropped_silently():
    runs = FIVE.assign(status=["done"] * 4 + ["solver_failed"])
    judged = verdict(ERROR, Below(100), runs)
    assert judged.verdict == Verdict.INCONCLUSIVE
    assert "seed 4" in judged.reason


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, math.inf], Verdict.INCONCLUSIVE),  # one blew up: the mean is no number below 10
        ([math.inf] * 3, Verdict.NOT_SUPPORTED),
        ([20.0, 30.0, math.inf], Verdict.NOT_SUPPORTED),
    ],
)
def test_infinite_values_count(values, expected):
    for kind in (Mean, GeometricMean):
        judged = verdict(kind(value("error", TANH), "runs"), Below(10), made_up(values))
        assert judged.verdict == expected


def test_decades_are_averaged_on_the_log_scale():
    estimator = GeometricMean(value("error", TANH), "runs")
    estimate = estimator(made_up([1e-6, 1e-5, 1e-4]))
    assert estimate.value == pytest.approx(1e-5)
    # One decade is a standard deviation, Student's quantile for 2 degrees of freedom is 4.303.
    assert estimate.high / estimate.value == pytest.approx(10 ** (4.3026527 / math.sqrt(3)))
    assert estimate.low > 0
    assert "not all replicates are positive" in estimator(made_up([1e-6, 0.0, 1e-4])).lacking
    assert estimator(made_up([1e-200, 1e200, 1e300])).high == math.inf


def test_outcomes_have_a_binomial_interval():
    stable = Share(value("error", TANH), "runs")
    estimate = stable(made_up([1.0] * 5))
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == pytest.approx(0.025 ** (1 / 5))
    assert verdict(stable, Above(0.5), made_up([1.0] * 6)).verdict == Verdict.SUPPORTED
    assert verdict(stable, Above(0.5), made_up([1.0] * 5)).verdict == Verdict.INCONCLUSIVE
    assert verdict(stable, Above(0.5), made_up([0.0] * 6)).verdict == Verdict.NOT_SUPPORTED
    with pytest.raises(ValueError, match=r"0 or 1, got \[0\.5, 1\.0\]"):
        stable(made_up([0.5, 1, 1]))


def exact(error):
    return Exact(value("error", TANH), lambda runs: 0 * value("error", TANH)(runs) + error, "runs")


@pytest.mark.parametrize(
    ("values", "error", "expected"),
    [
        ([1e-3], 1e-9, Verdict.SUPPORTED),  # one case will do: nothing is random
        ([1e-3, 2e-3], 1e-9, Verdict.SUPPORTED),
        ([1e-3, 1e-12], 1e-9, Verdict.INCONCLUSIVE),  # one of them is not resolved
        ([-1e-12], 1e-9, Verdict.INCONCLUSIVE),
        ([-1.0], 1e-9, Verdict.NOT_SUPPORTED),
        ([math.nan, 1.0], 1e-9, Verdict.INCONCLUSIVE),
        ([], 1e-9, Verdict.INCONCLUSIVE),
    ],
)
def test_what_is_computed_exactly_is_judged_by_its_numerical_error(values, error, expected):
    runs = made_up(values) if values else FIVE.iloc[:0]
    assert verdict(exact(error), Above(0), runs).verdict == expected


WIDTHS = {seed: [factor * n**-0.5 for n in (64, 128, 256)] for seed, factor in enumerate((1, 2, 3))}


def test_slopes_are_fitted_within_a_seed():
    scattered = [[y * (1 + 0.01 * k) for k, y in enumerate(ys)] for ys in WIDTHS.values()]
    scattered[0] = WIDTHS[0]
    measure = slope("error", "config.model.width", TANH)
    assert measure(made_up(list(WIDTHS.values()))).tolist() == pytest.approx([-0.5] * 3)
    estimator = Mean(measure, "two widths")
    assert verdict(estimator, Within(-0.6, -0.4), made_up(scattered)).verdict == Verdict.SUPPORTED
    assert verdict(estimator, Within(-1.1, -0.9), made_up(scattered)).verdict == Verdict.NOT_SUPPORTED


def test_a_slope_takes_two_sizes_and_all_of_a_seeds_runs():
    estimator = Mean(slope("error", "config.model.width", TANH), "two widths")
    judged = verdict(estimator, Below(0), FIVE)
    assert judged.verdict == Verdict.INCONCLUSIVE
    assert "needs two widths" in judged.reason
    runs = made_up(list(WIDTHS.values()))
    runs.loc[4, "status"] = "error"
    judged = verdict(estimator, Below(0), runs)
    assert judged.verdict == Verdict.INCONCLUSIVE
    assert "seed 1" in judged.reason


def test_comparisons_are_paired():
    runs = pd.concat(
        [
            FIVE,
            FIVE.assign(**{"config.choices.activation": "relu", "error": 2 * FIVE["error"]}).iloc[::-1],
        ]
    )
    relu = value("error", {"config.choices.activation": "relu"})
    assert ratio(relu, value("error", TANH))(runs).tolist() == pytest.approx([2] * 5)
    assert difference(relu, value("error", TANH))(runs).tolist() == pytest.approx(FIVE["error"])
    less = runs[~((runs["config.choices.activation"] == "relu") & (runs["config.seed"] == 3))]
    assert ratio(relu, value("error", TANH))(less).isna().tolist() == [False, False, False, True, False]


def test_replicates_are_pairs_of_seeds():
    runs = pd.concat([FIVE.assign(**{"config.dataset.seed": draw}) for draw in (0, 1)])
    assert len(value("error", TANH)(runs)) == 10
    assert list(value("error", TANH)(runs).index)[-1] == "seed 4, data 1"


def test_the_table_holds_verdict_and_numbers():
    claims = Claims("study", (claim(ERROR, Above(0.8)),))
    [row] = verdict_table("study", claims.judge(FIVE)).to_dict("records")
    assert row["verdict"] == "supported"
    assert row["expected"] == "> 0.8"
    assert row["low"] == pytest.approx(1 - HALF)
    assert row["replicates"] == 5
    assert "95 %" in row["reason"]
    assert numbers(ERROR(FIVE)) == "1 (0.876 … 1.12)"
    assert numbers(ERROR(FIVE.iloc[:0])) == "–"


def test_bad_claims_are_refused():
    with pytest.raises(ValueError, match=r"Within\(1, 0\) is empty"):
        Within(1, 0)
    with pytest.raises(ValueError, match=r"Within\(1, 1\)"):
        Within(1, 1)
    with pytest.raises(ValueError, match="must be unique"):
        Claims("study", (claim(ERROR, Above(0)), claim(ERROR, Below(0))))
    names = [Claim(name, "", "", "", ERROR, Above(0)) for name in "abcbad"]
    with pytest.raises(ValueError, match="study: two claims are named a, b;"):
        Claims("study", tuple(names))


@pytest.mark.parametrize(
    "value",
    [
        *(Within(0, 1), Above(0), Below(0), claim(ERROR, Above(0)), Claims("study", ())),
        *(ERROR, GeometricMean(len, "runs"), Share(len, "runs"), Exact(len, len, "runs"), ERROR(FIVE)),
        *(verdict(ERROR, Above(0), FIVE), WithVerdicts(print, Claims("study", ()))),
        PowerLaw(-0.5, 0.1, 0.0, -0.5, 3, 1.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_claims_and_their_parts_do_not_change(value):
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
