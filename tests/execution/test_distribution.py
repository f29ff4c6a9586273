"""A run of two processes equals that of one: the same losses, one record, one tracked run."""

import math
import multiprocessing
import os

import psutil
import pytest
import torch
from tests.tracking.wandb_offline import read_offline_run

from ntkode.data.batches import BatchSchedule
from ntkode.execution import run_job
from ntkode.results import RunRecord, run_id

SMALL = (
    "size=smoke",
    "n_train=16",
    "n_test=16",
    "dataset=digits",
    "width=w64",
    "dtype=float64",
    "logger=none",
)
# Two partial sums of float64 in place of one, through 25 steps.
ROUNDING = 1e-10


@pytest.fixture(scope="module")
def run(composed, tmp_path_factory):
    """A function that runs a job with these overrides and parts of its config, and returns its record."""
    results = tmp_path_factory.mktemp("results")

    def call(*overrides, **parts):
        config = composed(*SMALL, f"results_dir={results}", *overrides) | parts
        run_job(config, " ".join(overrides))
        return RunRecord.open(results, run_id(config))

    return call


@pytest.fixture(scope="module")
def two(run):
    """A full-batch job by two processes, with metrics and W&B."""
    return run("trainer=ddp", "metrics=full", "logger=wandb")


@pytest.fixture(scope="module")
def one(run):
    return run("metrics=full")


def test_every_row_is_that_of_one_process(one, two):
    assert two.status["status"] == "done", two.status
    rows, expected = two.history(), one.history()
    assert [set(row) for row in rows] == [set(row) for row in expected]
    # Gradient errors of float64 training are rounding themselves.
    compared = ("loss/", "ntk/", "params/", "accuracy/")
    for row, other in zip(rows, expected, strict=True):
        for name, value in other.items():
            if name.startswith(compared):
                # A rate is the logarithm of a quotient near 1, and a gap a difference of near numbers.
                scale = abs(value) + (1.0 if "rate" in name or "gap" in name else 0.0)
                assert abs(row[name] - value) <= ROUNDING * scale, name
    assert two.summary()["learning_rate"] == pytest.approx(one.summary()["learning_rate"], rel=ROUNDING)
    assert two.summary()["metrics_missing"] == []


def test_measuring_together_changes_no_loss(run, two):
    without = run("trainer=ddp", "metrics=none")
    assert [row["loss/train"] for row in without.history()] == [row["loss/train"] for row in two.history()]


@pytest.mark.integration  # starts two more processes
def test_a_kernel_that_cannot_be_measured_is_nan_and_the_training_continues(run):
    study = {"_target_": "tests.studies.configs.FailsToMeasure", "failing": 1}
    record = run("metrics=standard", "trainer=ddp", "seed=7", study=study)
    assert record.status["status"] == "done", record.status
    measured = [row["ntk/lambda_min"] for row in record.history() if "ntk/lambda_min" in row]
    assert len(measured) > 1
    assert all(math.isnan(value) for value in measured)
    assert math.isfinite(record.summary()["loss/train"])


def test_one_tracked_run_and_no_process_left_behind(two):
    (path,) = two.directory.glob("wandb/offline-run-*/*.wandb")
    tracked = read_offline_run(path)
    assert tracked.run_id == two.run_id
    assert tracked.exit_code == 0
    assert len([row for row in tracked.history if "loss/train" in row]) == 26
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(two.directory) in str(p.info["cmdline"])]


def work_as_task(node, config):
    """Run a job as one of two tasks on different nodes, as SLURM and submitit start it."""
    variables = {"NTASKS": 2, "JOB_NUM_NODES": 2, "NODEID": node, "LOCALID": 0, "JOB_NODELIST": "localhost"}
    variables |= {"JOB_ID": os.getppid()}
    os.environ |= {f"SLURM_{name}": str(value) for name, value in variables.items()}
    os.environ["SUBMITIT_EXECUTOR"] = "slurm"
    run_job(config, "job")


@pytest.mark.integration  # tests/integration/test_slurm_jobs.py runs real jobs
def test_tasks_on_two_nodes_are_the_ranks_of_one_run(one, composed, tmp_path):
    overrides = ("trainer=ddp", "trainer.devices=1", "trainer.num_nodes=2", "metrics=full", "logger=wandb")
    config = composed(*SMALL, *overrides, f"results_dir={tmp_path}")
    context = multiprocessing.get_context("spawn")
    tasks = [context.Process(target=work_as_task, args=(node, config)) for node in range(2)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(300)
        assert task.exitcode == 0
    record = RunRecord.open(tmp_path, run_id(config))
    assert record.status["status"] == "done", record.status
    losses = [[row["loss/train"] for row in of.history()] for of in (record, one)]
    assert losses[0] == pytest.approx(losses[1], rel=ROUNDING)
    [_] = record.directory.glob("wandb/offline-run-*/*.wandb")


@pytest.mark.integration  # starts two more processes
def test_minibatches_and_the_adjoint_are_split_too(run):
    overrides = "metrics=none optimizer=adam optimizer.batch_size=8 gradient=adjoint activation=relu"
    records = [run(*overrides.split(), trainer) for trainer in ("trainer=cpu", "trainer=ddp")]
    losses = [[row["loss/train"] for row in record.history()] for record in records]
    assert losses[1] == pytest.approx(losses[0], rel=1e-8)  # Adam divides by small numbers


@pytest.mark.parametrize(
    ("overrides", "named", "remedy"),
    [
        ("trainer=ddp n_train=15", "n_train=15", "n_train=14"),
        ("trainer=ddp study=width_limit", "study=width_limit", "trainer=cpu"),
        ("trainer.devices=2", "trainer.devices=2", "trainer=ddp"),
        ("trainer=ddp trainer.num_nodes=2", "trainer.num_nodes=2", "hydra/launcher=slurm"),
    ],
)  # fmt: skip
def test_what_cannot_be_split_is_an_error_before_training(run, overrides, named, remedy):
    record = run("metrics=none", *overrides.split())
    status = record.status
    assert status["status"] == "error"
    assert named in status["message"]
    assert remedy in status["message"]
    assert record.history() == []


@pytest.mark.parametrize(
    ("overrides", "problem", "remedy"),
    [
        ("trainer.accelerator=tpu", "trainer.accelerator=tpu is none of cpu, gpu", "trainer.accelerator=cpu"),
        ("trainer.accelerator=mps", "trainer.accelerator=mps is none of cpu, gpu", "trainer.accelerator=cpu"),
        ("trainer.devices=2", "trainer.devices=2 needs trainer=ddp", "trainer=ddp"),
        ("trainer=gpu trainer.devices=2", "needs trainer=ddp", "trainer=ddp trainer.accelerator=gpu"),
    ],
)
def test_a_trainer_that_no_run_can_use_names_the_override_to_try(run, overrides, problem, remedy):
    record = run("metrics=none", *overrides.split())
    assert problem in record.status["message"]
    assert record.status["remedy"] == remedy
    assert record.history() == []


def test_a_failure_of_any_rank_is_the_run_s(run):
    record = run("metrics=none", "trainer=ddp", "optimizer.lr=1e6")
    assert record.status["status"] in ("diverged", "solver_failed"), record.status
    study = {"_target_": "tests.studies.configs.FailsOnRank", "failing": 1}
    record = run("metrics=none", "trainer=ddp", "seed=5", study=study)
    assert record.status["status"] == "solver_failed"
    assert "on rank 1" in record.status["message"]


def test_a_killed_rank_fails_the_run(run):
    study = {"_target_": "tests.studies.configs.FailsOnRank", "failing": 1, "killed": True}
    record = run("metrics=none", "trainer=ddp", "seed=6", study=study)
    assert record.status["status"] == "error"


@pytest.mark.parametrize("batch_size", [None, 6])
def test_parts_of_a_step_are_its_rows(batch_size):
    whole = BatchSchedule(12, steps=5, batch_size=batch_size, seed=3)
    parts = [BatchSchedule(12, steps=5, batch_size=batch_size, seed=3, rank=r, ranks=3) for r in range(3)]
    for step in range(5):
        rows = torch.arange(12)
        assert torch.equal(torch.cat([rows[part.rows(step)] for part in parts]), rows[whole.rows(step)])
