"""The paper's training studies as a user runs them, at a tiny size: their claims and runs."""

from typing import NamedTuple

import pandas as pd
import pytest

from ntkode.results import SweepIndex, load

DIGITS = "dataset=digits"
# Refining the reference of relu's gradient takes seconds.
COARSE = "++metrics.gradient.max_steps=20"
SMALL = ("n_train=24", "n_test=10", "steps=6", "metrics.ntk.probe_size=24", COARSE, "hydra/launcher=basic")
TINY = (*SMALL, "model.width=12")
SEEDS = "seed=0,1,2"


class Case(NamedTuple):
    """Overrides, the number of runs, and the verdicts that hold at any size."""

    overrides: tuple[str, ...]
    runs: int
    certain: dict[str, str]


CASES = {
    "training_width": Case((*SMALL, DIGITS, SEEDS, "activation=tanh", "width=w64,w128"), 6, {}),
    "activation": Case(
        (*TINY, DIGITS, SEEDS, "activation=tanh,relu", "match=none"),
        6,
        {"relu_gradient_error_none": "supported"},
    ),
    "activation_gradient": Case((*TINY, DIGITS, SEEDS, "match=none"), 6, {}),
    "activation_polynomial": Case(
        (*SMALL, DIGITS, SEEDS, "dataset.resize=2", "model.width=40"),
        9,
        {"linear_is_singular": "supported", "nonpolynomial_suffices": "supported"},
    ),
    "horizon": Case(
        (*TINY, DIGITS, SEEDS, "activation=relu", "model.horizon=1.0,4.0"),
        12,
        {
            "relu_variance_scaled": "supported",
            "relu_training_scaled": "supported",
        },
    ),
    "datasets": Case((*TINY, SEEDS, "activation=tanh", "dataset=digits,daily_climate"), 6, {}),
}


@pytest.fixture
def run(script):
    """A function that runs one experiment of the paper."""

    def call(experiment, *overrides):
        return script("run", f"experiment=paper/{experiment}", *overrides)

    return call


def verdicts(folder, experiment):
    results = folder / "results"
    directory = SweepIndex(results, SweepIndex.newest(results)).directory
    assert (directory / f"{experiment}.png").read_bytes().startswith(b"\x89PNG")
    assert (directory / f"{experiment}_medians.csv").exists()
    return pd.read_csv(directory / f"{experiment}_verdicts.csv").set_index("claim")


@pytest.mark.parametrize(
    "experiment",
    # Several seconds each: `make test` runs one of them.
    [pytest.param(name, marks=[pytest.mark.integration] * (name != "training_width")) for name in CASES],
)
def test_an_experiment_ends_in_its_verdicts_and_a_picture(run, tmp_path, experiment):
    case = CASES[experiment]
    done = run(experiment, *case.overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    table = verdicts(tmp_path, experiment)
    assert len(load(tmp_path / "results", status="done")) == case.runs
    assert (table["study"] == experiment).all()
    # Every claim can be measured: three seeds, all done.
    assert (table["replicates"] == 3).all(), table["reason"].to_list()
    assert table["estimate"].notna().all()
    assert dict(table["verdict"]) | case.certain == dict(table["verdict"])


@pytest.mark.integration  # trains three runs
def test_missing_data_are_rows_and_the_others_get_verdicts(run, tmp_path, monkeypatch):
    overrides = (*TINY, SEEDS, "activation=tanh", "dataset=cifar10,daily_climate")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    done = run("datasets", *overrides)
    assert done.returncode == 1
    table = verdicts(tmp_path, "datasets")
    assert table.loc["daily_climate_lambda_min", "replicates"] == 3
    assert table.loc["cifar10_lambda_min", "verdict"] == "inconclusive"
    assert "could not be measured" in table.loc["cifar10_lambda_min", "reason"]
    assert "dataset.data_dir=PATH" in done.stdout
