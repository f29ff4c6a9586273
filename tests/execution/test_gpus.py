"""Jobs that share a machine see different GPUs."""

import pytest

from ntkode.checks import SettingError
from ntkode.execution import gpus as devices
from ntkode.execution import run_job
from ntkode.execution.gpus import VARIABLE, assigned_gpus, require_gpus, visible_gpus
from ntkode.results import RunRecord, run_id

GPU = {"accelerator": "gpu", "devices": 1}


@pytest.fixture(autouse=True)
def locks(monkeypatch, tmp_path):
    monkeypatch.setattr(devices.tempfile, "tempdir", str(tmp_path))


def test_visible_gpus_are_those_of_the_environment(monkeypatch):
    monkeypatch.setenv(VARIABLE, "2, 5")
    assert visible_gpus() == ["2", "5"]
    monkeypatch.setenv(VARIABLE, "")
    assert visible_gpus() == []


def test_simultaneous_jobs_have_different_gpus_while_there_are_enough(monkeypatch):
    monkeypatch.setenv(VARIABLE, "2,5,7")
    with assigned_gpus(GPU) as first:
        with assigned_gpus(GPU | {"devices": 2}) as second, assigned_gpus(GPU) as third:
            assert (first, second, third) == ("2", "5,7", "2,5,7")  # the third shares all
        with assigned_gpus(GPU) as again:
            assert again == "5"


@pytest.mark.parametrize(
    ("wanted", "available", "trainer", "problem", "remedy"),
    [
        (1, 0, "gpu", r"trainer=gpu needs a GPU, and PyTorch \S+ finds none here", "trainer=cpu"),
        (1, 0, "cpu", r"trainer\.accelerator=gpu needs a GPU", "trainer.accelerator=cpu"),
        (2, 0, "ddp", "trainer=ddp needs 2 GPUs, and PyTorch .* finds none", "trainer.accelerator=cpu"),
        (4, 3, "ddp", "trainer=ddp needs 4 GPUs, and PyTorch .* finds 3 here", "trainer.devices=3"),
    ],
)
def test_gpus_that_pytorch_does_not_find_are_refused(
    monkeypatch, wanted, available, trainer, problem, remedy
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: available)
    with pytest.raises(SettingError, match=problem) as raised:
        require_gpus(wanted, trainer)
    assert raised.value.remedy == remedy
    monkeypatch.setattr("torch.cuda.device_count", lambda: wanted)
    require_gpus(wanted, trainer)


@pytest.mark.parametrize("trainer", [None, {"accelerator": "cpu", "devices": 1}, GPU | {"devices": 2}])
def test_a_job_keeps_what_a_queue_gave_it(monkeypatch, trainer):
    monkeypatch.setenv(VARIABLE, "2,5")
    with assigned_gpus(trainer) as value:
        assert value == "2,5"
    monkeypatch.delenv(VARIABLE)
    with assigned_gpus(None) as value:
        assert value is None


@pytest.mark.parametrize("values", [("0", "1", None), (None, "1")])
def test_a_run_sees_the_gpus_of_its_job_though_the_fork_server_is_older(monkeypatch, tmp_path, values):
    for seed, value in enumerate(values):
        if value is None:
            monkeypatch.delenv(VARIABLE, raising=False)
        else:
            monkeypatch.setenv(VARIABLE, value)
        config = {
            "results_dir": str(tmp_path / "results"),
            "sweep": "s",
            "rerun": "none",
            "seed": seed,
            "threads": 1,
            "choices": {},
            "logger": {"_target_": "ntkode.tracking.NoTracker", "_partial_": True},
            "study": {"_target_": "tests.studies.configs.Sees"},
        }
        run_job(config, "job")
        [row] = RunRecord.open(config["results_dir"], run_id(config)).history()
        assert row["gpus"] == value
