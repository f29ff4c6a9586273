"""The figure of a sweep of many runs: medians and ranges by setting."""

import numpy as np
import pandas as pd
import pytest

from ntkode.report.tables.factors import Factor
from ntkode.report.training.comparison import MOST_CURVES, report
from ntkode.report.training.ranges import range_figure

STEPS = np.arange(5)


def history(factors, **columns):
    """Runs r0, r1, …; run i has the loss ratio factors[i] · 2^−step."""
    frames = [
        pd.DataFrame({"run_id": f"r{i}", "step": STEPS, "loss/ratio": factor * 2.0**-STEPS, **columns})
        for i, factor in enumerate(factors)
    ]
    return pd.concat(frames, ignore_index=True)


def names(count):
    return [f"r{number}" for number in range(count)]


def test_a_line_is_the_median_and_a_band_the_range_of_each_value():
    factors = [*np.arange(1.0, 12.0), *np.arange(100.0, 111.0)]
    activation = Factor("activation", ["tanh", "relu"], [0] * 11 + [1] * 11)
    figure = range_figure(history(factors), names(22), [activation])
    loss = figure.axes[0]
    tanh, relu = loss.get_lines()
    assert tanh.get_ydata() == pytest.approx(6.0 * 2.0**-STEPS)
    assert relu.get_ydata() == pytest.approx(105.0 * 2.0**-STEPS)
    corners = loss.collections[0].get_paths()[0].vertices
    at_start = corners[corners[:, 0] == 0][:, 1]
    assert at_start.min() == pytest.approx(2.0)  # 10 % of 1, …, 11
    assert at_start.max() == pytest.approx(10.0)
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["tanh", "relu"]
    assert loss.get_legend().get_title().get_text() == "activation"
    assert figure.get_suptitle() == "Median and 10–90 % range of 22 runs"


def test_a_column_for_each_of_three_settings_seeds_excluded():
    factors = [Factor(name, ["1", "2"], [0, 1]) for name in ("seed", "a", "b", "dataset.seed", "c", "d")]
    figure = range_figure(history([1.0, 2.0]), names(2), factors)
    titles = [axes.get_legend().get_title().get_text() for axes in figure.axes[:3]]
    assert titles == ["a", "b", "c"]
    assert len(figure.axes) == 12


def test_runs_that_differ_in_seeds_alone_have_one_line():
    figure = range_figure(history([1.0, 2.0, 4.0]), names(3), [Factor("seed", ["0", "1", "2"], [0, 1, 2])])
    [line] = figure.axes[0].get_lines()
    assert line.get_ydata()[0] == 2.0


def test_what_was_not_measured_or_is_not_finite_is_left_out():
    figure = range_figure(history([1.0, np.inf, np.nan, -1.0]), names(4), [])
    [line] = figure.axes[0].get_lines()
    assert line.get_ydata() == pytest.approx(2.0**-STEPS)
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes[1:]] == [["not measured"]] * 3


def test_many_runs_get_ranges_and_few_get_curves(store, tmp_path):
    for seed in range(MOST_CURVES + 1):
        store("tanh", seed=seed, steps=2)
    from ntkode.results import load

    runs = load(tmp_path)
    assert report(runs, tmp_path).figure.get_suptitle().endswith(f"of {MOST_CURVES + 1} runs")
    assert report(runs.head(MOST_CURVES), tmp_path).figure.get_suptitle() == ""
