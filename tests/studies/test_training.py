"""The training study in many configurations, and its errors for invalid settings."""

import math

import pytest

from ntkode.execution import run_job
from ntkode.results import RunRecord, Status, run_id

SMALL = ("size=smoke", "dataset=digits", "width=w64", "logger=none", "metrics=none")


@pytest.fixture(scope="module")
def train(composed, tmp_path_factory):
    """A function that runs a job with these overrides and parts of its config, and returns its record."""
    results = tmp_path_factory.mktemp("results")

    def call(*overrides, **parts):
        config = composed(*SMALL, f"results_dir={results}", *overrides) | parts
        run_job(config, " ".join(overrides))
        return RunRecord.open(results, run_id(config))

    return call


@pytest.mark.parametrize(
    "overrides",
    [
        "activation=relu",  # with its learning rate of 1/λ_max
        "model=resnet optimizer.lr=0.01",
        "model=resnet activation=relu model.depth=5 optimizer.lr=0.01",
        "model=mlp_ode optimizer.lr=0.001",
        "model=augmented_ode activation=relu optimizer.lr=0.001",
        "model=time_dependent_ode optimizer.lr=0.001",
        "model=conv_ode model.width=4",
        "gradient=adjoint activation=relu optimizer.lr=0.01",
        "solver=dopri5 optimizer.lr=0.01",
        "solver=dopri5 gradient=adjoint optimizer.lr=0.01",
        "solver=implicit_adams optimizer.lr=0.01",
        "loss=cross_entropy optimizer.lr=0.01",
        "loss=cross_entropy activation=relu optimizer=adam",
        "optimizer=adam",
        "optimizer=sgd optimizer.lr=0.01",
        "dtype=float64 optimizer.lr=0.01",
        "dataset=sine optimizer.lr=0.01",
        "model.width=300 optimizer.lr=0.01",
    ],
)
def test_a_run_is_whole_and_its_loss_falls(train, overrides):
    record = train(*overrides.split())
    assert record.status["status"] == Status.DONE, record.status
    history, summary = record.history(), record.summary()
    assert [row["step"] for row in history] == list(range(26))
    first, last = history[0]["loss/train"], history[-1]["loss/train"]
    assert last < 0.95 * first  # in all cases 25 steps reduce the loss by a tenth or more
    assert summary["loss/train"] == last
    assert summary["loss/ratio"] == last / first
    assert 0 < summary["learning_rate"] < 1
    assert summary["metrics_missing"] == []


@pytest.mark.parametrize(
    ("overrides", "status", "named", "remedy"),
    [
        ("model.width=0", "error", "model.width=0", "as in model.width="),
        ("solver=dopri5 solver.rtol=-1", "error", "solver.rtol=-1", "as in solver.rtol="),
        ("solver.steps=0", "error", "solver.steps=0", "as in solver.steps="),
        ("model.horizon=-1", "error", "model.horizon=-1", "as in model.horizon="),
        ("optimizer.lr=-1", "error", "optimizer.lr=-1", "as in optimizer.lr="),
        ("optimizer.lr=abc", "error", "optimizer.lr=abc", "as in optimizer.lr="),
        ("optimizer.lr_factor=-1", "error", "optimizer.lr_factor=-1", "as in optimizer.lr_factor="),
        ("optimizer.lr=1e6", "diverged", "1e+06", "a smaller optimizer.lr"),
        ("optimizer.batch_size=49", "error", "optimizer.batch_size=49", "from 1 to 48"),
        ("activation=quadratic", "solver_failed", "non-finite state", "model.horizon=0.25"),
        ("loss=cross_entropy dataset=sine", "error", "loss=cross_entropy", "loss=squared"),
        ("dataset=mnist dataset.data_dir=/nonexistent", "error", "/nonexistent", "dataset.data_dir=PATH"),
        ("seed=-1", "error", "seed=-1", "seed=N"),
        ("seed=abc", "error", "seed=abc", "seed=N"),
        ("steps=0", "error", "steps=0", "steps=N"),
        ("dtype=float16", "error", "dtype=float16", "dtype=float32"),
        ("metrics=standard metrics.ntk.every=0", "error", "every=0", "≥ 1"),
        (
            "++metrics.ntk.every=5",
            "error",
            "metrics.ntk.every cannot be set: metrics=none",
            "metrics=full",
        ),
        (
            "metrics=cheap ++metrics.exact_loss.every=5",
            "error",
            "metrics=cheap",
            "~metrics.exact_loss",
        ),
        ("logger=wandb logger.mode=nosuch", "error", "logger.mode=nosuch", "logger.mode=offline"),
    ],
)
def test_bad_input_is_one_error_that_names_value_and_remedy(train, overrides, status, named, remedy):
    stored = train(*overrides.split()).status
    assert stored["status"] == status
    assert named in stored["message"]
    assert remedy in stored["message"] + stored["remedy"]
    assert "\n" not in stored["message"]


def test_an_unreachable_hub_is_an_error_and_not_retried(train):
    study = {"_target_": "tests.studies.configs.DownloadsRecorded"}
    record = train("dataset=mnist", "dataset.source=hub", study=study)
    stored = record.status
    if stored["status"] == "done" or "out of reach" not in stored["message"]:
        pytest.skip(f"the hub answers, or its data are cached: {stored}")
    # The hub's client would retry for 23 s; it only reads its cache.
    log = record.log_path.read_text()
    assert "download with local_files_only=True" in log
    assert "download with local_files_only=False" not in log
    assert "dataset.data_dir=PATH" in stored["remedy"]


def test_a_diverged_run_keeps_what_it_measured(train):
    record = train("optimizer.lr=1e6", "metrics=cheap")
    history, summary = record.history(), record.summary()
    assert 0 < len(history) < 26
    assert summary["loss/train"] == history[-1]["loss/train"]
    assert math.isfinite(summary["accuracy/test.first"])
    assert summary["learning_rate"] == 1e6


@pytest.mark.parametrize(("required", "status"), [(False, "done"), (True, "error")])
def test_a_missing_metric_is_listed_and_fails_the_run_where_required(train, required, status):
    study = {"_target_": "ntkode.studies.training.Training", "require_metrics": required}
    metrics = {"never": {"_target_": "tests.studies.configs.NeverMeasured"}}
    record = train("optimizer.lr=0.01", "steps=2", study=study, metrics=metrics)
    assert record.status["status"] == status
    assert record.summary()["metrics_missing"] == ["never/measured"]
    assert not required or "never/measured" in record.status["message"]


def test_the_seed_determines_the_draw_and_the_initialisation(train):
    first, second = (train(f"seed={seed}", "optimizer.lr=0.01", "steps=2").history() for seed in (1, 2))
    again = train("seed=1", "optimizer.lr=0.01", "steps=2", "rerun=all").history()
    assert again == first
    assert first[0]["loss/ratio"] == second[0]["loss/ratio"] == 1
    assert first[1]["loss/ratio"] != second[1]["loss/ratio"]


@pytest.mark.parametrize("model", ["neural_ode", "resnet"])
def test_matched_scales_are_used_and_recorded(train, model):
    record = train("match=ntk", "activation=relu", f"model={model}", "optimizer.lr=0.01")
    assert record.status["status"] == Status.DONE, record.status
    summary = record.summary()
    # At σ = 1 relu has NNGP 0.78 and NTK 1.86, a ratio of 2.4: 2.5 needs a larger σ_w.
    assert 1 < summary["model/sigma_w"] < 2
    assert 0.5 < summary["model/sigma_v"] < 1.1
    assert "model/sigma_w" not in train("activation=relu", f"model={model}", "optimizer.lr=0.01").summary()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ("match=ntk activation=sigmoid", "between 1"),
        ("match=ntk model=mlp_ode", "model=neural_ode"),
        ("match=hidden match.hidden_variance=-1", "match.hidden_variance=-1"),
    ],
)
def test_scales_that_cannot_be_matched_are_an_error(train, overrides, named):
    record = train(*overrides.split(), "optimizer.lr=0.01")
    assert record.status["status"] == "error"
    assert named in record.status["message"]
