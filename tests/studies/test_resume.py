"""A resumed run gives the numbers of an uninterrupted one, bit for bit."""

import csv
import signal

import pytest
import torch
from tests.results.stored import numbers
from tests.tracking.wandb_offline import read_offline_run

from ntkode.execution import run_job
from ntkode.results import RunRecord, run_id
from ntkode.studies import checkpoints

# So few samples that metrics=full, whose cost is their square, takes as long as the training.
SMALL = ("size=smoke", "n_train=16", "n_test=16", "dataset=digits", "width=w64", "logger=none")
QUICK = ("metrics=none", "optimizer.lr=0.01")


@pytest.fixture
def job(composed, tmp_path):
    """Run a job with these overrides, ended by the signal `by` at step `ended_at`, and return its record."""

    def call(*overrides, folder="results", ended_at=None, by=signal.SIGKILL):
        config = composed(
            *SMALL, f"results_dir={tmp_path / folder}", "checkpoint.every_seconds=0", *overrides
        )
        if ended_at is not None:
            target = "tests.studies.configs.SignallingTracker"
            tracker = {"_target_": target, "_partial_": True, "step": ended_at, "signal": int(by)}
            config = config | {"logger": tracker}
        run_job(config, " ".join(overrides))
        return RunRecord.open(config["results_dir"], run_id(config))

    return call


def steps(record):
    return [row["step"] for row in record.history()]


def csv_rows(directory):
    with (directory / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{"step": int(row["step"]), "loss/train": float(row["loss/train"])} for row in rows]


def wandb_rows(directory):
    [path] = directory.glob("wandb/offline-run-*/*.wandb")
    rows = read_offline_run(path).history
    return [{"step": row["trainer/global_step"], "loss/train": row["loss/train"]} for row in rows]


@pytest.mark.parametrize(
    "overrides",
    [
        "metrics=full",  # full batch, learning rate from the kernel at initialisation
        # minibatches; the next line but one has them without the kernels of metrics=full
        pytest.param("metrics=full optimizer=adam optimizer.batch_size=8", marks=pytest.mark.integration),
        "optimizer=adam optimizer.batch_size=8",
        "activation=relu gradient=adjoint dtype=float64",
        "optimizer=sgd optimizer.lr=0.01 +optimizer.algorithm.momentum=0.9",
        "solver=dopri5 model=augmented_ode optimizer.lr=0.001 loss=cross_entropy",
        # Both processes take part in each checkpoint, and resume from it.
        pytest.param("metrics=full trainer=ddp", marks=pytest.mark.integration),  # starts ten processes
    ],
)
def test_a_run_that_is_ended_three_times_has_the_numbers_of_one_that_is_not(job, overrides):
    overrides = f"metrics=cheap {overrides}".split()
    undisturbed = job(*overrides, "checkpoint.every_seconds=null", folder="undisturbed")
    job(*overrides, ended_at=6)
    job(*overrides, "rerun=failed", ended_at=13)
    record = job(*overrides, "rerun=failed", ended_at=20, by=signal.SIGINT)
    assert record.status["status"] == "interrupted"
    assert steps(record) == list(range(21))  # the step is completed first
    record = job(*overrides)
    assert record.status["status"] == "done"
    assert [resumption["checkpoint"] for resumption in record.provenance()["resumed"]] == [
        f"step-{step:09d}.ckpt" for step in (6, 13, 21)
    ]
    assert numbers(record) == numbers(undisturbed)
    assert record.status["message"] == ""
    assert not record.checkpoints_dir.exists()


def test_random_numbers_continue_from_the_checkpoint(job):
    noisy = (*QUICK, "optimizer.algorithm._target_=tests.studies.configs.NoisyDescent")
    undisturbed = job(*noisy, folder="undisturbed")
    job(*noisy, ended_at=9)
    record = job(*noisy, "rerun=failed")
    assert "resumed" in record.provenance()
    assert numbers(record) == numbers(undisturbed)


def test_the_summed_time_of_all_attempts_is_recorded(job):
    first = job(*QUICK, ended_at=12, by=signal.SIGTERM)
    path = first.checkpoints[0]
    content = checkpoints.read_checkpoint(path)
    content["callbacks"]["checkpoints"]["seconds"] += 1000
    torch.save(content, path)
    assert 1000 < job(*QUICK).summary()["cost/run_seconds"] < 1100


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_a_checkpoint_before_the_run_ends(job, by):
    record = job(*QUICK, "checkpoint.every_seconds=1000", ended_at=9, by=by)
    assert record.status["status"] == "interrupted"
    assert [path.stem for path in record.checkpoints] == ["step-000000010"]


def test_the_two_newest_checkpoints_are_kept(job):
    record = job(*QUICK, ended_at=9)
    assert [path.stem for path in record.checkpoints] == ["step-000000009", "step-000000008"]


def test_all_is_from_the_start(job):
    record = job(*QUICK, ended_at=9)
    job(*QUICK, "rerun=all")
    assert record.status["status"] == "done"
    assert "resumed" not in record.provenance()


@pytest.mark.parametrize(("logger", "rows_of"), [("csv", csv_rows), ("wandb", wandb_rows)])
def test_a_tracker_has_every_row_once(job, logger, rows_of):
    job(*QUICK, ended_at=9)
    record = job(*QUICK, f"logger={logger}", "rerun=failed")
    assert "resumed" in record.provenance()
    expected = [{"step": row["step"], "loss/train": row["loss/train"]} for row in record.history()]
    assert len(expected) == 26
    assert rows_of(record.directory) == expected


# ------------------------------------------------------------------ unusable checkpoints


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:1000])


@pytest.fixture(scope="module")
def expected(composed, tmp_path_factory):
    config = composed(*SMALL, *QUICK, f"results_dir={tmp_path_factory.mktemp('expected')}")
    run_job(config, "")
    return numbers(RunRecord.open(config["results_dir"], run_id(config)))


@pytest.mark.parametrize("harm", [flip, truncate])
def test_a_corrupt_checkpoint_is_named_and_the_previous_one_used(job, expected, harm):
    record = job(*QUICK, ended_at=9)
    harm(record.checkpoints[0])
    job(*QUICK, "rerun=failed")
    assert record.status["status"] == "done"
    assert "step-000000009.ckpt is not used: it is corrupt" in record.status["message"]
    assert "resumed from step-000000008.ckpt" in record.status["message"]
    assert "step-000000009.ckpt is not used" in record.log_path.read_text()
    assert numbers(record) == expected


def test_a_run_whose_checkpoints_are_all_corrupt_starts_over(job, expected):
    record = job(*QUICK, ended_at=9)
    for path in record.checkpoints:
        flip(path)
    job(*QUICK, "rerun=failed")
    assert record.status["status"] == "done"
    assert record.status["message"].endswith("started over")
    assert numbers(record) == expected


def test_a_history_that_is_too_short_starts_the_run_over(job, expected):
    record = job(*QUICK, ended_at=9)
    path = record.directory / "history.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    job(*QUICK, "rerun=failed")
    assert record.status["status"] == "done"
    assert "history.jsonl is shorter than at the checkpoint" in record.status["message"]
    assert numbers(record) == expected


def test_rows_after_the_checkpoint_are_cut_off(job, expected):
    record = job(*QUICK, ended_at=9)
    record.append({"step": 10, "loss/train": 0.0})
    with (record.directory / "history.jsonl").open("a") as file:
        file.write('{"step": 11, "lo')
    job(*QUICK, "rerun=failed")
    assert "resumed" in record.provenance()
    assert numbers(record) == expected


def test_a_checkpoint_of_other_code_of_the_user_is_refused_by_name(job, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # both texts have one size, and may have one time
    path = tmp_path / "mine_phi.py"
    path.write_text("import torch\ndef phi(x): return torch.tanh(x)\n")
    function = "{_target_: hydra.utils.get_method, path: mine_phi.phi}"
    mine = (
        f"model.activation={{_target_: ntkode.activations.from_callable, name: mine, function: {function}}}"
    )
    record = job(*QUICK, mine, ended_at=9)
    assert record.checkpoints
    path.write_text("import torch\ndef phi(x): return torch.relu(x)\n")
    job(*QUICK, mine, "rerun=failed")
    assert record.status["status"] == "done"
    assert "it was written with other code (mine_phi)" in record.status["message"]
    assert list(record.provenance()["user_code"]) == ["mine_phi"]
    relu = job(*QUICK, "activation=relu", folder="relu")
    assert [row["loss/train"] for row in record.history()] == [row["loss/train"] for row in relu.history()]


@pytest.mark.parametrize("key", ["sources", "data", "torch"])
def test_a_checkpoint_of_other_code_packages_or_data_is_refused(job, expected, key):
    record = job(*QUICK, ended_at=9)
    for path in record.checkpoints:
        content = checkpoints.read_checkpoint(path)
        content["callbacks"]["checkpoints"]["origin"][key] = "other"
        torch.save(content, path)
    job(*QUICK, "rerun=failed")
    assert record.status["status"] == "done"
    assert f"it was written with other {key}" in record.status["message"]
    assert record.status["message"].endswith("started over")
    assert numbers(record) == expected


def test_a_checkpoint_that_would_run_code_is_not_read(job, tmp_path):
    record = job(*QUICK, ended_at=9)

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trapped"), "w"))

    for path in record.checkpoints:
        torch.save(Trap(), path)
    job(*QUICK, "rerun=failed")
    assert record.status["status"] == "done"
    assert not (tmp_path / "trapped").exists()


def test_a_checkpoint_interval_out_of_range_is_one_clear_error(job):
    record = job(*QUICK, "checkpoint.every_seconds=-1")
    assert "checkpoint.every_seconds=-1" in record.status["message"]
