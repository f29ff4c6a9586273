"""The trackers' files: offline W&B files and metrics.csv."""

import csv

import pytest
import wandb
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only
from tests.tracking.wandb_offline import read_offline_run

from ntkode.execution import run_job
from ntkode.results import RunRecord, run_id
from ntkode.tracking import trackers

SMALL = ("size=smoke", "n_train=16", "n_test=16", "dataset=digits", "width=w64")


@pytest.fixture(scope="module")
def tracked(composed, tmp_path_factory):
    """By learning rate, the record and the W&B run of a training that succeeds and of one that diverges."""
    results = tmp_path_factory.mktemp("results")

    def run(rate):
        job = f"optimizer.lr={rate}"
        config = composed(*SMALL, job, f"results_dir={results}", "sweep=a-sweep")
        run_job(config, job)
        record = RunRecord.open(results, run_id(config))
        [path] = record.directory.glob("wandb/offline-run-*/*.wandb")
        return record, read_offline_run(path)

    return {rate: run(rate) for rate in ("auto", "1e6")}


@pytest.mark.parametrize("rate", ["auto", "1e6"])
def test_a_job_is_one_wandb_run_with_its_names_and_config(tracked, rate):
    record, run = tracked[rate]
    assert run.run_id == record.run_id
    assert run.name == f"optimizer.lr={rate}"
    assert run.group == "a-sweep"
    assert run.project == "ntkode"
    assert {key: run.config[key] for key in record.config} == record.config


@pytest.mark.parametrize("rate", ["auto", "1e6"])
def test_wandb_has_every_row_of_the_history_against_its_step(tracked, rate):
    record, run = tracked[rate]
    rows = [{name: v for name, v in row.items() if not name.startswith("_")} for row in run.history]
    for row in rows:
        row["step"] = row.pop("trainer/global_step")
    assert rows == record.history()
    assert {name for row in rows for name in row} >= {"loss/train", "ntk/lambda_min", "cost/step_seconds"}
    assert run.step_of["*"] == "trainer/global_step"


def test_a_failed_job_ends_as_failed_in_wandb(tracked):
    ends = {rate: (record.status["status"], run.exit_code) for rate, (record, run) in tracked.items()}
    assert ends == {"auto": ("done", 0), "1e6": ("diverged", 1)}


@pytest.fixture
def config(tmp_path):
    """A function that makes the config of a job of two rows with a given logger."""

    def make(target, **settings):
        return {
            "results_dir": str(tmp_path),
            "sweep": "s",
            "rerun": "all",
            "threads": 1,
            "seed": 0,
            "logger": {"_target_": f"ntkode.tracking.{target}", "_partial_": True, **settings},
            "study": {"_target_": "tests.studies.configs.Writes"},
        }

    return make


@pytest.fixture
def only_record(tmp_path):
    """A function that returns the record of the only job."""

    def find():
        [status] = tmp_path.glob("*/status.json")
        return RunRecord(status.parent)

    return find


def test_wandb_keeps_the_latest_attempt_alone(config, tmp_path):
    for _ in range(2):
        assert run_job(config("WandbTracker"), "a=1") == "done"
    [path] = tmp_path.glob("*/wandb/offline-run-*/*.wandb")
    assert read_offline_run(path).exit_code == 0


def test_the_loggers_are_real_whatever_rank_the_environment_states(config, tmp_path, monkeypatch):
    for name, run in (("CSVTracker", ExperimentWriter), ("WandbTracker", wandb.Run)):
        monkeypatch.setitem(vars(rank_zero_only), "rank", 3)  # read from RANK, SLURM_PROCID, … at import
        tracker = getattr(trackers, name)(RunRecord(tmp_path), config(name), "a=1")
        tracker.loggers[0].log_metrics({"loss/train": 0.5}, step=0)
        tracker.close(failed=False)
        assert isinstance(tracker.loggers[0].experiment, run)
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1:] == ["0.5,0"]


def test_trackers_write_through_no_link(config, tmp_path):
    record = RunRecord(tmp_path / "run")
    record.directory.mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "file").write_text("private")
    (record.directory / "metrics.csv").symlink_to(tmp_path / "private" / "file")
    (record.directory / "wandb").symlink_to(tmp_path / "private", target_is_directory=True)
    for name in ("CSVTracker", "WandbTracker"):
        tracker = getattr(trackers, name)(record, config(name), "a=1")
        tracker.loggers[0].log_metrics({"loss/train": 0.5}, step=0)
        tracker.close(failed=False)
    assert (tmp_path / "private" / "file").read_text() == "private"
    assert [path.name for path in (tmp_path / "private").iterdir()] == ["file"]


def test_wandb_disabled_leaves_nothing(config, tmp_path):
    assert run_job(config("WandbTracker", mode="disabled"), "a=1") == "done"
    assert not list(tmp_path.glob("*/wandb/*run-*"))


@pytest.mark.parametrize(
    "error", [wandb.Error("no wandb-core"), OSError("no space left on device")], ids=repr
)
def test_wandb_that_cannot_start_names_the_override(config, tmp_path, monkeypatch, error):
    def refuse(self):
        raise error

    monkeypatch.setattr(trackers.WandbLogger, "experiment", property(refuse))
    with pytest.raises(trackers.TrackerUnavailable, match=f"logger.mode=offline: {error}") as caught:
        trackers.WandbTracker(RunRecord(tmp_path), config("WandbTracker"), "a=1")
    assert "logger=csv" in caught.value.remedy


def test_a_server_out_of_reach_fails_the_job_before_wandb_starts(config, only_record):
    job = config("NoServer")
    job["logger"]["_target_"] = "tests.studies.configs.NoServer"
    assert run_job(job, "a=1") == "error"
    record = only_record()
    assert "http://127.0.0.1:9 cannot be reached" in record.status["message"]
    assert "logger.mode=offline" in record.status["remedy"]
    assert record.config == job  # the record is complete, and rerun=failed runs it


def test_a_run_that_is_done_stays_where_the_tracker_of_a_new_attempt_cannot_start(config, only_record):
    job = config("NoTracker")
    assert run_job(job, "a=1") == "done"
    record = only_record()
    before = (record.status, record.history(), record.summary(), record.provenance())
    unreachable = {"_target_": "tests.studies.configs.NoServer", "_partial_": True}
    assert run_job(job | {"logger": unreachable, "rerun": "all"}, "a=1") == "error"
    assert (record.status, record.history(), record.summary(), record.provenance()) == before
    assert "http://127.0.0.1:9 cannot be reached" in record.log_path.read_text()


def test_a_server_that_goes_away_takes_no_result_along(config, only_record):
    job = config("DyingServer")
    job["logger"]["_target_"] = "tests.studies.configs.DyingServer"
    assert run_job(job, "a=1") == "done"
    record = only_record()
    assert len(record.history()) == 2
    log = record.log_path.read_text()
    assert f"wandb sync --include-online {record.directory / 'wandb'}" in log
    [path] = record.directory.glob("wandb/run-*/*.wandb")
    assert read_offline_run(path).run_id == record.run_id


def test_wandb_that_fails_midway_ends_no_training(composed, tmp_path):
    config = composed(*SMALL, "metrics=none", "steps=4", f"results_dir={tmp_path}", "logger=none")
    config = config | {"logger": {"_target_": "tests.studies.configs.FailingMidway", "_partial_": True}}
    assert run_job(config, "a=1") == "done"
    record = RunRecord.open(tmp_path, run_id(config))
    assert len(record.history()) > 2
    assert record.history()[-1]["step"] == config["steps"]
    log = record.log_path.read_text()
    assert log.count("W&B failed at step 1") == 1
    assert "the W&B process is gone" in log


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def log_rows(directory, rows, *, failed=False):
    tracker = trackers.CSVTracker(RunRecord(directory), {}, "")
    for step, row in enumerate(rows):
        tracker.loggers[0].log_metrics(row, step=step)
    tracker.close(failed=failed)


def test_csv_has_all_rows_and_columns_however_sparse(tmp_path):
    # More rows than Lightning buffers, with metrics that first appear after a part has been written.
    rows = [{"loss/train": 1 / (step + 1)} for step in range(251)]
    for step, name in (
        (0, "ntk/lambda_min"),
        (150, "ntk/lambda_min"),
        (120, "loss/decay_rate"),
        (250, "last"),
    ):
        rows[step][name] = step + 0.25
    log_rows(tmp_path, rows)
    stored = read_csv(tmp_path / "metrics.csv")
    assert [{name: float(value) for name, value in row.items() if value} for row in stored] == [
        {"step": step, **row} for step, row in enumerate(rows)
    ]


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_csv_is_that_of_the_latest_attempt(tmp_path):
    log_rows(tmp_path, [{"a": 1.0}] * 3, failed=True)
    log_rows(tmp_path, [{"b": 2.0}] * 2)
    assert read_csv(tmp_path / "metrics.csv") == [{"step": step, "b": "2.0"} for step in ("0", "1")]


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_csv_of_a_run_without_rows_is_no_error_and_no_old_file(tmp_path):
    log_rows(tmp_path, [{"a": 1.0}])
    log_rows(tmp_path, [], failed=True)
    assert not (tmp_path / "metrics.csv").exists()
