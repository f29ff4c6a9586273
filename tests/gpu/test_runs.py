"""Runs with trainer=gpu: losses, repetition, resumption and provenance."""

import signal

import pytest
import torch
from tests.results.stored import numbers

from ntkode.execution import run_job
from ntkode.results import RunRecord, run_id

SMALL = ("size=smoke", "n_train=16", "n_test=16", "dataset=digits", "width=w64", "logger=csv")
TRAINERS = {"cuda": "trainer=gpu", "cpu": "trainer=cpu"}


@pytest.fixture(scope="module")
def run(composed, device, tmp_path_factory):
    """The record of a run on the device under test, in a folder by name; a signal may end it at a step."""
    root = tmp_path_factory.mktemp("runs")

    def call(*overrides, folder="results", ended_at=None, trainer=TRAINERS[device.type]):
        config = composed(*SMALL, trainer, f"results_dir={root / folder}", *overrides)
        if ended_at is not None:
            target = "tests.studies.configs.SignallingTracker"
            ending = {"step": ended_at, "signal": int(signal.SIGKILL)}
            config = config | {"logger": {"_target_": target, "_partial_": True, **ending}}
        run_job(config, " ".join(overrides))
        return RunRecord.open(config["results_dir"], run_id(config))

    return call


def test_losses_are_those_of_the_cpu(run):
    options = ("metrics=none", "dtype=float64")
    records = run(*options, trainer="trainer=cpu", folder="cpu"), run(*options)
    expected, computed = ([row["loss/train"] for row in record.history()] for record in records)
    assert len(computed) == 26
    assert computed == pytest.approx(expected, rel=1e-8)  # rounding of 1e-16 through 25 steps


def test_every_metric_is_measured(run, device):
    record = run("metrics=full")
    assert record.status["status"] == "done", record.status
    assert record.summary()["metrics_missing"] == []
    assert record.summary()["cost/peak_memory"] > 0
    provenance = record.provenance()
    assert provenance["device"].startswith(device.type)
    assert provenance["arithmetic"] == {"deterministic": True, "tf32": False}
    names = [torch.cuda.get_device_name(0)] if device.type == "cuda" else []
    assert provenance["hardware"]["gpus"][:1] == names


def test_one_rank_of_ddp_computes_what_one_process_computes(run, device):
    accelerator = {"cuda": "gpu", "cpu": "cpu"}[device.type]
    ddp = ("trainer.devices=1", f"trainer.accelerator={accelerator}")
    one = run("metrics=standard", folder="one")
    record = run("metrics=standard", *ddp, trainer="trainer=ddp", folder="ddp")
    assert record.status["status"] == "done", record.status
    for values, expected in zip(record.history(), one.history(), strict=True):
        assert values["loss/train"] == pytest.approx(expected["loss/train"], rel=1e-5)


def test_the_same_config_gives_the_same_numbers_bit_for_bit(run):
    first, second = (run("metrics=full", folder=name) for name in ("first", "second"))
    assert numbers(second) == numbers(first)


def test_a_killed_run_resumes_to_the_same_numbers_bit_for_bit(run):
    options = ("metrics=cheap", "optimizer=adam", "optimizer.batch_size=8")
    undisturbed = run(*options, folder="undisturbed")
    often = (*options, "checkpoint.every_seconds=0")
    run(*often, ended_at=9, folder="killed")
    record = run(*often, "rerun=failed", folder="killed")
    assert record.status["status"] == "done", record.status
    assert "resumed" in record.provenance()
    assert numbers(record) == numbers(undisturbed)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_absent_is_one_clear_error(run):
    record = run("metrics=none", trainer="trainer=gpu")
    assert record.status["status"] == "error"
    assert "trainer=gpu" in record.status["message"]
    assert "trainer=cpu" in record.status["remedy"]
    assert record.history() == []
