"""Statistics of replicates: one value each, and NaN where a run of the replicate failed."""

import math

import numpy as np
import pandas as pd
import pytest

from ntkode.report.statistics.replicates import (
    at,
    by_activation,
    done_values,
    mean_log_ratio,
    mean_ratio,
    of_each,
    ratio,
    replicate,
    select,
    slope,
    value,
)

TANH = {"config.choices.activation": "tanh"}


def runs_of(errors, failed=()):
    """Two widths per seed with these errors; `failed` holds (seed, width) of runs that diverged."""
    rows = [
        {
            "config.seed": seed,
            "config.choices.activation": "tanh",
            "config.model.width": width,
            "error": error,
            "status": "diverged" if (seed, width) in failed else "done",
        }
        for seed, pair in enumerate(errors)
        for width, error in zip((64, 128), pair, strict=True)
    ]
    return pd.DataFrame(rows)


def test_the_value_of_a_replicate_is_the_mean_over_its_runs():
    values = value("error", TANH)(runs_of([(1.0, 3.0), (2.0, 6.0)]))
    assert values.to_dict() == {"seed 0": 2.0, "seed 1": 4.0}


@pytest.mark.parametrize("missing", ["failed", "not a number"])
def test_a_replicate_with_one_failed_run_has_no_value(missing):
    """A mean over the remaining runs would depend on which ones failed."""
    errors = [(1.0, math.nan if missing == "not a number" else 3.0), (2.0, 6.0)]
    values = value("error", TANH)(runs_of(errors, failed={(0, 128)} if missing == "failed" else ()))
    assert list(values.index) == ["seed 0", "seed 1"]
    assert values.isna().tolist() == [True, False]
    assert values["seed 1"] == 4.0


def test_a_value_is_the_mean_also_where_the_runs_are_skewed():
    runs = pd.concat([runs_of([(1.0, 3.0)]), runs_of([(11.0, 0.0)]).iloc[:1]])
    assert value("error", TANH)(runs).to_dict() == {"seed 0": 5.0}


def test_replicates_are_in_the_order_of_the_runs():
    runs = runs_of([(number, number) for number in range(11)]).iloc[::-1]
    values = value("error", TANH)(runs)
    assert values.to_dict() == {f"seed {number}": number for number in range(11)}
    assert list(values.index) == [f"seed {number}" for number in range(10, -1, -1)]


def test_a_replicate_is_named_by_both_seeds():
    runs = runs_of([(1.0, 3.0), (2.0, 6.0)])
    assert set(replicate(runs)) == {"seed 0", "seed 1"}
    drawn = replicate(runs.assign(**{"config.dataset.seed": [5, 6, 5, None]}))
    assert drawn.tolist() == ["seed 0, data 5", "seed 0, data 6", "seed 1, data 5", "seed 1"]


def test_runs_without_a_seed_are_those_of_seed_0():
    runs = runs_of([(1.0, 3.0)]).set_index(pd.Index([7, 3])).drop(columns="config.seed")
    assert replicate(runs).to_dict() == {7: "seed 0", 3: "seed 0"}
    assert replicate(runs.assign(**{"config.dataset.seed": 5})).tolist() == ["seed 0, data 5"] * 2


def test_no_runs_have_no_replicates():
    runs = runs_of([(1.0, 3.0)]).assign(**{"config.dataset.seed": 5})
    assert replicate(runs.iloc[:0]).tolist() == []
    assert replicate(runs.iloc[:0].drop(columns="config.seed")).tolist() == []


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ((), list(runs_of([(1.0, 3.0)]))),
        ((None,), list(runs_of([(1.0, 3.0)]))),
        ((("status", "error", "absent"),), ["error", "status"]),
    ],
)
def test_a_measure_reads_the_columns_that_are_named_or_all(columns, expected):
    """The runs of a replicate keep the order of their columns."""
    read = []
    measure = of_each(lambda runs: read.append(list(runs)) or runs["error"].sum(), TANH, *columns)
    assert measure(runs_of([(1.0, 3.0), (2.0, 6.0)])).to_dict() == {"seed 0": 4, "seed 1": 8}
    assert read == [expected, expected]


def test_a_failed_run_may_have_any_seed():
    runs = runs_of([(1.0, 3.0), (2.0, 6.0)]).assign(**{"config.dataset.seed": [1.5, "abc", None, 123456789]})
    assert replicate(runs).tolist() == [
        "seed 0, data 1.5",
        "seed 0, data abc",
        "seed 1",
        "seed 1, data 123456789",
    ]


def test_replicates_of_different_data_are_no_pairs():
    runs = runs_of([(1.0, 3.0), (2.0, 6.0)]).assign(**{"config.dataset.seed": [5, 6, 5, 6]})
    first, second = (value("error", TANH | {"config.dataset.seed": seed}) for seed in (5, 6))
    assert ratio(first, first)(runs).tolist() == [1.0, 1.0]
    assert ratio(first, second)(runs).isna().all()


def test_selected_runs_meet_every_condition():
    runs = runs_of([(1.0, 3.0), (2.0, 6.0)])
    assert select(runs, TANH | {"config.model.width": 128})["error"].tolist() == [3, 6]
    assert select(runs, {}).equals(runs)
    assert select(runs, TANH | {"config.model.depth": 3}).empty


@pytest.mark.parametrize(("pick", "expected"), [(min, [1, 2]), (max, [3, 6])])
def test_the_value_at_the_extreme_size_of_the_selected_runs(pick, expected):
    relu = runs_of([(7.0, 8.0), (7.0, 8.0)]).assign(**{"config.choices.activation": "relu"})
    relu["config.model.width"] *= [0.5, 2, 0.5, 2]
    runs = pd.concat([runs_of([(1.0, 3.0), (2.0, 6.0)]), relu])
    picked = at(pick, "config.model.width", "error", TANH)
    assert picked(runs).to_dict() == dict(zip(("seed 0", "seed 1"), expected, strict=True))
    assert picked(relu).empty
    assert picked(runs.drop(columns="config.model.width")).empty


def test_a_replicate_without_the_extreme_size_has_no_value_there():
    runs = runs_of([(1.0, 3.0), (2.0, 6.0)]).drop(index=3)
    assert at(max, "config.model.width", "error", TANH)(runs).to_dict() == {"seed 0": 3}


SIZES = (1, 4, 16, 64)


def sized_runs(y, **columns):
    """A run per size of one seed, with these errors and columns."""
    size = {"config.model.width": SIZES[: len(y)], "error": y}
    return pd.DataFrame(
        {"config.seed": 0, "config.choices.activation": "tanh", "status": "done", **size, **columns}
    )


def exponent(**options):
    return slope("error", "config.model.width", TANH, **options)


def test_a_slope_leaves_out_sizes_below_the_least():
    runs = sized_runs([100.0, 1.0, 0.5, 0.25])  # slope −1/2 from size 4 on
    assert exponent(least=4)(runs).to_dict() == {"seed 0": pytest.approx(-0.5)}
    assert exponent(least=1)(runs)["seed 0"] == pytest.approx(
        np.polyfit(np.log(SIZES), np.log(runs["error"]), 1)[0]
    )
    assert exponent()(runs)["seed 0"] == exponent(least=1)(runs)["seed 0"]
    assert exponent(least=16)(runs)["seed 0"] == pytest.approx(-0.5)
    assert exponent(least=17)(runs).empty
    assert exponent(least=17)(runs).dtype == float
    assert exponent()(runs.drop(columns="config.model.width")).empty


def test_slopes_fitted_apart_are_averaged():
    """The constants differ by depth, so that one line through all points has another slope."""
    shallow = sized_runs([1.0, 0.5, 0.25], depth=2)  # slope −1/2
    deep = sized_runs([9.0, 90.0], depth=9).assign(**{"config.model.width": (16, 160)})  # slope 1
    runs = pd.concat([shallow, deep, deep.assign(depth=5)], ignore_index=True)
    assert exponent(apart=("depth",))(runs)["seed 0"] == pytest.approx((-0.5 + 1 + 1) / 3)
    assert exponent()(runs)["seed 0"] == pytest.approx(
        np.polyfit(np.log(runs["config.model.width"]), np.log(runs["error"]), 1)[0]
    )
    assert exponent(apart=("depth", "solver"))(runs).empty


def test_sizes_may_be_less_than_one():
    runs = sized_runs([1.0, 0.5, 0.25])
    small = runs.assign(**{"config.model.width": runs["config.model.width"] / 32})  # 1/32, 1/8, 1/2
    assert exponent()(small)["seed 0"] == pytest.approx(-0.5)


def test_sizes_may_be_stored_as_objects():
    """A column in which some runs have no number has no number's type."""
    runs = sized_runs([1.0, 0.5, 0.25]).astype({"config.model.width": object})
    assert exponent()(runs)["seed 0"] == pytest.approx(-0.5)


@pytest.mark.parametrize("measure", [exponent(), value("error", {}), at(max, "size", "error", {})])
def test_runs_without_what_is_needed_have_no_replicate(measure):
    for runs in (sized_runs([1.0, 0.5]).iloc[:0], pd.DataFrame()):
        assert measure(runs).empty
        assert measure(runs).dtype == float


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("y", [0.0, -1.0, math.nan])
def test_no_slope_through_a_value_that_is_not_positive(y):
    values = exponent()(sized_runs([1.0, y, 0.25]))
    assert (list(values.index), math.isnan(values["seed 0"])) == (["seed 0"], True)


ERRORS = ("error", "reference")


def test_the_mean_log_ratio_is_that_of_the_runs_of_a_replicate():
    runs = runs_of([(2.0, 8.0), (3.0, 3.0)]).assign(reference=[1.0, 2.0, 9.0, 1.0])
    runs = pd.concat([runs, runs_of([(50.0, 1.0)]).iloc[:1].assign(reference=2.0)])
    assert mean_log_ratio(ERRORS, TANH)(runs).to_dict() == {
        "seed 0": pytest.approx(math.log(2 * 4 * 25) / 3),
        "seed 1": pytest.approx(0, abs=1e-15),
    }


@pytest.mark.parametrize("column", ERRORS)
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_no_log_ratio_of_values_that_are_not_positive(column, bad):
    runs = runs_of([(2.0, 8.0), (3.0, 3.0)]).assign(reference=1.0)
    runs.loc[1, column] = bad
    assert mean_log_ratio(ERRORS, TANH)(runs).isna().tolist() == [True, False]
    both = runs.assign(error=-runs["error"].abs(), reference=-1.0)
    assert mean_log_ratio(ERRORS, TANH)(both).isna().all()


def test_mean_ratios_are_compared_by_replicate():
    tanh = runs_of([(2.0, 8.0), (3.0, 3.0)]).assign(reference=1.0)  # geometric means 4 and 3
    relu = tanh.assign(**{"config.choices.activation": "relu", "error": [1.0, 4.0, 1.0, 9.0]})  # 2 and 3
    compared = mean_ratio(ERRORS, TANH, by_activation("relu"))
    assert compared(pd.concat([tanh, relu]))["seed 0"] == pytest.approx(2)
    assert compared(pd.concat([tanh, relu.iloc[::-1]]))["seed 1"] == pytest.approx(1)
    assert compared(pd.concat([tanh, relu.iloc[:2]])).isna().to_dict() == {"seed 0": False, "seed 1": True}


def test_values_are_numbers_of_runs_that_are_done():
    runs = pd.DataFrame(
        {"error": ["1.5", "auto", None, 2, 3.0], "status": ["done", "done", "done", "done", "diverged"]},
        index=[4, 3, 2, 1, 0],
    )
    values = done_values(runs, "error")
    assert values.dtype == float
    assert values.dropna().to_dict() == {4: 1.5, 1: 2}
    assert list(done_values(runs, "missing").index) == [4, 3, 2, 1, 0]
    assert done_values(runs, "missing").isna().all()
    assert done_values(runs.iloc[3:4].assign(error=2), "error").dtype == float
