"""Tests of the table that compares runs."""

import io
import math

import pandas as pd
import pytest
from rich.console import Console

from ntkode.report import comparison, labels, render
from ntkode.report.formatting import three_digits
from ntkode.results import load


def text(table, width=100):
    console = Console(width=width, file=io.StringIO())
    console.print(render(table))
    return console.file.getvalue()


def test_one_row_per_run_with_its_measures(store):
    for activation in ("tanh", "softplus", "relu"):
        store(activation)
    table = comparison(load(store.results_dir, "s"))
    assert list(table) == [
        "activation",
        "final loss",
        "loss ratio",
        "test accuracy",
        "lambda_min start",
        "lambda_min minimum",
        "lambda_min end",
        "gradient error",
        "measured decay rate",
        "predicted decay rate",
        "seconds",
        "lambda_min resolution",
        "status",
        "run_id",
        "message",
        "remedy",
    ]
    assert table["activation"].tolist() == ["tanh", "softplus", "relu"]
    tanh = table.iloc[0]
    assert tanh["final loss"] == pytest.approx(0.45 * tanh["loss ratio"])
    assert tanh["lambda_min minimum"] <= tanh["lambda_min end"] < tanh["lambda_min start"]
    assert tanh["predicted decay rate"] == pytest.approx(1.04 * tanh["measured decay rate"])
    assert tanh["seconds"] == pytest.approx(120)


def test_only_what_differs_becomes_a_column(store):
    store("tanh", optimizer={"lr": "auto"})
    store("tanh", optimizer={"lr": 0.1})
    store("relu", seed=1)
    table = comparison(load(store.results_dir, "s"))
    # activation.name and activation._target_ come with the choice; lr and seed do not.
    assert list(table)[:3] == ["activation", "optimizer.lr", "seed"]
    assert "activation.name" not in table


def test_a_key_within_one_choice_is_a_column(store):
    for beta in (1, 4):
        store("softplus", activation={"name": "softplus", "beta": beta})
    store("tanh")
    runs = load(store.results_dir, "s")
    assert list(comparison(runs))[:2] == ["activation", "activation.beta"]
    assert list(labels(runs).values()) == ["softplus, beta=1", "softplus, beta=4", "tanh"]


def test_keys_that_a_choice_sets_elsewhere_are_no_columns(store):
    for width in (64, 128):
        choices = {"activation": "tanh", "width": f"w{width}"}
        store("tanh", choices=choices, width=width, model={"width": width}, sweep="s")
    runs = load(store.results_dir, "s")
    assert list(comparison(runs))[:3] == ["activation", "width", "final loss"]
    assert list(labels(runs).values()) == ["w64", "w128"]


def test_a_key_that_only_repeats_another_is_no_column(store):
    for seed in (0, 1):
        store("tanh", seed=seed, dataset={"seed": seed})
    runs = load(store.results_dir, "s")
    assert [name for name in comparison(runs) if "seed" in name] == ["seed"]
    assert list(labels(runs).values()) == ["tanh", "tanh"]


def test_the_results_folder_is_never_a_column(store):
    for number, logger in enumerate(["wandb", "none"]):
        choices = {"activation": "tanh", "logger": logger, "hydra/launcher": logger}
        store("tanh", seed=number, choices=choices, logger={"mode": logger}, results_dir=logger)
    assert list(comparison(load(store.results_dir, "s")))[:3] == ["activation", "seed", "final loss"]


def test_labels_are_what_differs_and_seeds_share_one(store):
    for seed in (0, 1):
        store("tanh", seed=seed)
        store("relu", seed=seed)
    assert list(labels(load(store.results_dir, "s")).values()) == ["tanh", "relu", "tanh", "relu"]


def test_a_single_run_is_labelled_by_its_activation(store):
    record = store("tanh")
    assert labels(load(store.results_dir)) == {record.run_id: "tanh"}


def test_it_fits_a_hundred_columns_and_explains_failures(store):
    store("tanh")
    store("softplus")
    failed = store(
        "relu", steps=40, status="diverged", message="the loss became inf", remedy="try optimizer.lr=0.1"
    )
    printed = text(comparison(load(store.results_dir, "s")))
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 100
    assert "…" not in printed
    relu = next(line for line in lines if line.startswith("relu"))
    assert relu.split()[-1] == "diverged"
    assert "–" in relu  # no test accuracy was measured
    (note,) = [
        line for line in " ".join(printed.split()).split("diverged ") if line.startswith(failed.run_id)
    ]
    assert note == f"{failed.run_id}: the loss became inf → try optimizer.lr=0.1"


def test_measures_that_no_run_has_are_left_out(store):
    store("tanh", steps=5)
    table = comparison(load(store.results_dir))
    assert "test accuracy" not in table
    assert "lambda_min start" in table


def frame(**columns):
    outcome = {"run_id": ["r"], "status": ["done"], "message": [""], "remedy": [""]}
    config = {"config.choices.activation": ["tanh"]}
    return pd.DataFrame({**outcome, **config, **{name: [value] for name, value in columns.items()}})


def test_lambda_min_below_its_resolution_is_marked():
    runs = frame(**{"ntk/lambda_min": -3e-14, "ntk/lambda_min.first": 5e-3, "ntk/resolution.max": 2e-11})
    printed = text(comparison(runs)).splitlines()[-1].split()
    assert printed == ["tanh", "0.00500", "<2.00e-11", "done"]
    assert comparison(runs)["lambda_min end"].item() == -3e-14  # the number itself is kept


def test_runs_without_any_measure_still_make_a_table():
    runs = frame().assign(status="error", message="[weird] text")
    printed = text(comparison(runs))
    assert "error r: [weird] text" in printed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.14512, "0.145"),
        (0.0750, "0.0750"),
        (1.2e-6, "1.20e-6"),
        (118.2, "118"),
        (1536.0, "1536"),
        (2.5e7, "2.50e7"),
        (-0.5, "-0.500"),
        (0.0, "0.00"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_three_digits(value, expected):
    assert three_digits(value) == expected


def test_keys_of_a_choice_in_a_package_are_no_columns(store):
    for method in ("euler", "rk4"):
        choices = {"activation": "tanh", "solver@gradient.backward": method}
        store("tanh", choices=choices, gradient={"backward": {"method": method}})
    assert list(labels(load(store.results_dir, "s")).values()) == ["euler", "rk4"]


def test_the_terminal_lists_the_first_of_many_runs(store, monkeypatch):
    monkeypatch.setattr("ntkode.report.tables.comparison.MOST_ROWS", 2)
    for seed in range(3):
        store("tanh", seed=seed, steps=1)
    store("relu", steps=1, status="diverged", message="too fast")
    listed = text(comparison(load(store.results_dir, "s")))
    assert listed.count("done") == 2
    assert "2 more runs are in the CSV file below" in listed
    assert "too fast" in listed  # the reasons of failures are always listed
