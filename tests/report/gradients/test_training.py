"""The report of study=gradient_training on stored runs."""

import io
import math

import pytest
from rich.console import Console

from ntkode.report import report_of, report_sweep
from ntkode.report.gradients.training import training_effects
from ntkode.results import RunRecord, SweepIndex, load, run_id, summarise

ERRORS = {1: 0.4, 2: 0.1, 4: 0.01, 8: 1e-4}  # by the steps of the backward solver


def store(directory, activation, steps, change, *, seed=0, status="done", width=64):
    """Store a run whose final exact loss is larger by the factor 1 + `change`."""
    config = {
        "choices": {"study": "gradient_training", "activation": activation, "gradient": "adjoint"},
        "activation": {"name": activation},
        "gradient": {"backward": {"steps": steps}},
        "seed": seed,
        "model": {"width": width},
    }
    record = RunRecord.open(directory, run_id(config))
    SweepIndex(directory, "s").add(record.run_id, f"{activation} {steps} {seed} {width}")
    record.begin(config)
    record.append({"step": 0, "gradient/relative_error": ERRORS[steps]})
    record.append(
        {
            "step": 200,
            "gradient/relative_error": 2 * ERRORS[steps],
            "loss/exact": 0.1 * (1 + seed) * (1 + change),
            "ntk/lambda_min": 0.05 * (1 - change),
            "loss/decay_rate": 0.01 * (1 - change),
            "accuracy/test": 0.9 - 0.1 * change,
        }
    )
    record.write_summary(summarise(record.history()))
    record.finish(status, "broke" if status != "done" else "")
    return record.run_id


def store_all(directory, seeds=(0, 1)):
    """Store runs whose loss changes by the gradient's error (tanh) or a tenth of it (relu)."""
    for activation, share in (("tanh", 1.0), ("relu", 0.1)):
        for steps, error in ERRORS.items():
            for seed in seeds:
                store(directory, activation, steps, share * error, seed=seed)


def report(directory):
    return report_of("gradient_training")(load(directory, "s"), directory)


def enough(directory):
    return report(directory).tables["gradient_training_enough"].set_index(["activation", "change"])


def rendered(made):
    console = Console(file=io.StringIO(), width=110)
    console.print(made.rendering)
    return console.file.getvalue()


def test_the_largest_error_that_is_small_enough(tmp_path):
    store_all(tmp_path)
    output = io.StringIO()
    report_sweep(tmp_path, "s", Console(file=output, width=110))
    printed = output.getvalue()
    table = enough(tmp_path)
    assert table.loc[("tanh", 0.01), ["enough", "too_much"]].tolist() == [0.01, 0.1]
    assert table.loc[("tanh", 0.1), ["enough", "too_much"]].tolist() == [0.1, 0.4]
    assert table.loc[("relu", 0.01), ["enough", "too_much"]].tolist() == [0.1, 0.4]
    assert table.loc[("relu", 0.1), "enough"] == 0.4
    assert math.isnan(table.loc[("relu", 0.1), "too_much"])
    assert "all, up to 0.400" in printed
    assert "0.0100, exceeded at 0.100" in printed
    for name in ("gradient_training.csv", "gradient_training_enough.csv", "gradient_training.png"):
        assert f"sweeps/s/{name}" in printed.replace("\n", "")


def test_values_are_relative_to_the_most_accurate_run_of_the_same_seed(tmp_path):
    store_all(tmp_path)
    effects = training_effects(load(tmp_path, "s")).set_index(["group", "seed", "setting"])
    assert effects.loc[("tanh", 1, "steps=8"), "loss_ratio"] == 1
    worst = effects.loc[("tanh", 1, "steps=1")]
    assert worst["loss_ratio"] == pytest.approx(1.4 / 1.0001)
    assert worst["lambda_min_ratio"] == pytest.approx(0.6 / 0.9999)
    assert worst["accuracy"] == pytest.approx(0.86)
    assert report(tmp_path).tables["gradient_training"]["loss ratio"].notna().sum() == 16


def test_the_picture(tmp_path):
    store_all(tmp_path)
    figure = report(tmp_path).figure
    change, lambda_min, rate, accuracy = figure.axes
    assert (change.get_xscale(), change.get_yscale()) == ("log", "log")
    assert lambda_min.get_yscale() == rate.get_yscale() == accuracy.get_yscale() == "linear"
    assert {text.get_text() for text in change.texts} == {"1%", "10%"}
    medians = [line for line in accuracy.get_lines() if len(line.get_xdata()) == 4]
    assert len(medians) == 2
    assert list(medians[0].get_xdata()) == sorted(ERRORS.values())


def test_a_failed_run_exceeds_every_bound_and_is_named(tmp_path):
    store_all(tmp_path, seeds=(0,))
    failed = store(tmp_path, "relu", 2, 0.0, seed=0, status="diverged")
    assert failed in rendered(report(tmp_path)).replace("\n", "")
    assert enough(tmp_path).loc[("relu", 0.1), ["enough", "too_much"]].tolist() == [0.01, 0.1]


def test_a_sweep_without_the_metrics_names_them(tmp_path):
    store(tmp_path, "tanh", 8, 0.0)
    runs = load(tmp_path, "s")
    runs = runs.drop(columns=[name for name in runs if name.startswith(("gradient/", "loss/"))])
    made = report_of("gradient_training")(runs, tmp_path)
    assert "metrics=gradient_training" in rendered(made)
    assert {text.get_text() for axes in made.figure.axes for text in axes.texts} == {"not measured"}


def test_a_single_run_gives_no_sufficient_error(tmp_path):
    store(tmp_path, "tanh", 1, 0.0)
    made = report(tmp_path)
    assert made.tables["gradient_training_enough"].empty
    assert "all, up to" not in rendered(made)


def test_runs_of_other_problems_are_no_baseline(tmp_path):
    for width, change in ((64, 0.0), (128, -0.5)):
        for steps in ERRORS:
            store(tmp_path, "tanh", steps, change, width=width)
    made = report(tmp_path).tables["gradient_training_enough"]
    assert len(made) == 4
    assert made["too_much"].isna().all()
