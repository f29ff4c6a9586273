"""All statuses of a job, in its record and as returned by `run_job`."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time

import psutil
import pytest

from ntkode.execution import jobs, run_job, settle
from ntkode.results import RunRecord, Status, SweepIndex, load, run_id

STUDIES = "tests.studies.configs."
TWO_SECONDS = 2.0 * 3  # on a machine that also runs other tests


@pytest.fixture
def config(tmp_path):
    """A function that makes a job's config from the study's name and arguments."""

    def make(
        study="Writes",
        /,
        *,
        rerun="none",
        threads=1,
        timeout=None,
        logger="ntkode.tracking.NoTracker",
        **keywords,
    ):
        return {
            "results_dir": str(tmp_path / "results"),
            "sweep": "s",
            "rerun": rerun,
            "timeout": timeout,
            "seed": 0,
            "threads": threads,
            "choices": {"activation": "tanh"},
            "logger": {"_target_": logger, "_partial_": True},
            "study": {"_target_": STUDIES + study, **keywords},
        }

    return make


def record_of(config):
    return RunRecord.open(config["results_dir"], run_id(config))


def files(directory):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


def test_a_job_that_ends_well_is_done(config):
    job = config(rows=3)
    assert run_job(job, "a=1") is Status.DONE
    record = record_of(job)
    assert record.status["status"] == "done"
    assert record.status["finished"] >= record.status["started"]
    assert record.config == job
    assert [row["step"] for row in record.history()] == [0, 1, 2]
    assert record.history()[0]["pid"] != os.getpid()
    assert "attempt of process" in record.log_path.read_text()
    assert SweepIndex(job["results_dir"], "s").runs() == {"a=1": record.run_id}


@pytest.mark.parametrize(
    ("study", "keywords", "status", "message", "remedy"),
    [
        ("Raises", {"failure": "diverged"}, "diverged", "not finite at step 3", "optimizer.lr_factor=0.5"),
        ("Raises", {"failure": "solver"}, "solver_failed", "non-finite state at t=1", "model.horizon"),
        ("Raises", {"failure": "data"}, "error", "dataset.n_train=0 is no number", "dataset.n_train=N"),
        ("Raises", {"failure": "value"}, "error", "model.width=0 must be an integer ≥ 1", ""),
        ("Raises", {"failure": "key"}, "error", "KeyError: 'nosuch'", ""),
        ("Raises", {"failure": "exit"}, "interrupted", "by the user", ""),
        ("Nowhere", {}, "error", "Error loading 'tests.studies.configs.Nowhere'", ""),
        ("Dies", {"signal": 9}, "killed", "ended by SIGKILL (out of memory?)", "log.txt"),
        ("Dies", {"signal": 11}, "killed", "ended by SIGSEGV", "log.txt"),
        ("Dies", {"code": 3}, "killed", "ended with exit code 3", "log.txt"),
    ],
)  # fmt: skip
def test_a_failure_is_a_status_with_message_and_remedy(config, study, keywords, status, message, remedy):
    job = config(study, **keywords)
    assert run_job(job, "") == status
    stored = record_of(job).status
    assert stored["status"] == status
    assert message in stored["message"]
    assert remedy in stored["remedy"]
    # The table prints both, one after the other.
    assert not remedy or stored["remedy"] not in stored["message"]
    assert stored["finished"]


@pytest.mark.parametrize("threads", [0, -1, "abc", 1.5])
def test_an_unusable_thread_count_is_one_clear_error(config, threads):
    job = config(threads=threads)
    assert run_job(job, "") is Status.ERROR
    stored = record_of(job).status
    assert f"threads={threads}" in stored["message"]
    assert "threads=N" in stored["remedy"]


@pytest.mark.parametrize("limit", [0, -1, "abc"])
def test_an_unusable_time_limit_is_one_clear_error(config, limit):
    job = config(timeout=limit)
    assert run_job(job, "") is Status.ERROR
    assert f"timeout={limit}" in record_of(job).status["message"]


def test_a_job_that_takes_too_long_is_ended(config):
    job = config("Sleeps", timeout=0.2)
    assert run_job(job, "") is Status.TIMEOUT
    stored = record_of(job).status
    assert stored["message"] == "not done after 0.2 s"
    assert stored["remedy"].startswith("timeout=0.4")
    assert run_job(job | {"rerun": "failed"}, "") is Status.TIMEOUT
    assert record_of(job).status["started"] > stored["started"]


def test_a_job_that_blocks_all_signals_is_killed(config, monkeypatch):
    job = config("Deaf", timeout=600)
    assert jobs._patience(job) == jobs.START + 600 + jobs.GRACE

    def patience(config):
        while record_of(config).last_row() is None:  # signals are blocked before this row
            time.sleep(0.02)
        return 0.1

    monkeypatch.setattr(jobs, "_patience", patience)
    monkeypatch.setattr(jobs, "GRACE", 0.3)
    assert run_job(job, "") is Status.TIMEOUT
    assert record_of(job).status["message"] == "not done after 600 s"
    assert not psutil.pid_exists(record_of(job).last_row()["pid"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("status.json", '{"status": "do'),
        ("status.json", '{"status": "so-so"}'),
        ("config.json", ""),
        ("summary.json", None),
        ("history.jsonl", '{"step": 0}\n'),
    ],
)
def test_the_same_command_computes_a_damaged_run_again(config, capfd, name, content):
    job = config(rows=3)
    run_job(job, "")
    record = record_of(job)
    record.write_summary({"step": 2})
    record.finish("done")
    path = record.directory / name
    path.unlink() if content is None else path.write_text(content)
    assert run_job(job, "") is Status.DONE
    assert f"{record.run_id}: " in capfd.readouterr().err
    assert name in record.status["message"]
    assert record.status["message"].startswith("computed again because ")
    assert [row["step"] for row in record.history()] == [0, 1, 2]
    assert load(job["results_dir"])["status"].tolist() == ["done"]
    assert run_job(job, "") is Status.DONE
    assert capfd.readouterr().err == ""


def test_a_damaged_run_that_cannot_be_computed_again_is_not_done(config):
    run_job(config(), "")
    record = record_of(config())
    (record.directory / "history.jsonl").unlink()
    assert run_job(config(logger="nowhere.Tracker"), "") is Status.ERROR
    assert record.status["message"].startswith("computed again because history.jsonl is missing; ImportError")


def test_a_run_that_another_sweep_has_done_meanwhile_is_kept(config, monkeypatch):
    job = config()
    record = record_of(job)
    with record.lock():
        record.begin(job)
        computing = threading.Event()
        compute = jobs._compute_in_process
        monkeypatch.setattr(
            jobs, "_compute_in_process", lambda *arguments: computing.set() or compute(*arguments)
        )
        thread = threading.Thread(target=run_job, args=(job, ""))
        thread.start()
        computing.wait()  # the run is not done, so its process starts and waits for the lock
        record.append({"step": 7})
        record.finish("done")
    thread.join()
    assert [row["step"] for row in record.history()] == [7]


def test_an_unwritable_record_is_reported_and_not_raised(config, capfd, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunRecord, "begin", full)
    job = config()
    assert run_job(job, "") is Status.ERROR
    [message] = capfd.readouterr().err.splitlines()
    assert record_of(job).run_id in message
    assert "No space left" in message


@pytest.mark.parametrize(
    ("stored", "rerun", "runs"),
    [
        ("done", "none", False),
        ("done", "failed", False),
        ("done", "all", True),
        ("error", "none", False),
        ("timeout", "none", False),
        ("diverged", "failed", True),
        ("error", "all", True),
        ("interrupted", "none", True),
        ("killed", "none", True),
        ("running", "none", True),  # its process has died: the lock is free
    ],
)
def test_what_is_run_again(config, stored, rerun, runs):
    job = config(rerun=rerun)
    record = record_of(job)
    record.begin(job)
    record.append({"step": 7})
    if stored != "running":
        record.finish(stored, "as it was")
    before = files(record.directory)
    assert run_job(job, "") == ("done" if runs else stored)
    if runs:
        assert [row["step"] for row in record.history()] == [0, 1]
    else:
        assert files(record.directory) == before


def test_a_run_whose_process_is_killed_is_resumed_three_times_and_once_more_on_request(config):
    job, asked = config("Dies", signal=9), config("Dies", signal=9, rerun="failed")
    record = record_of(job)
    remedies, attempts = [], []
    for again in [job] * 6 + [asked, job]:
        assert run_job(again, "") is Status.KILLED
        remedies.append(record.status["remedy"])
        attempts.append((record.status["started"], record.kills))
    assert [kills for _, kills in attempts] == [1, 2, 3, 4, 4, 4, 1, 2]
    assert len(set(attempts)) == 6  # two commands did not run it
    assert all("the same command continues" in remedies[n] for n in (0, 1, 2, 6, 7))
    assert all(
        remedies[n].startswith("killed 4 times: ") and "rerun=failed" in remedies[n] for n in (3, 4, 5)
    )


def test_the_kills_of_a_run_that_ends_otherwise_are_kept_with_it(config):
    record = record_of(config())
    record.begin(config(), kills=2)
    record.set_phase("training")
    record.finish("interrupted")
    assert (record.kills, run_job(config(), ""), record.kills) == (2, "done", 2)


def test_the_log_is_that_of_the_latest_attempt(config):
    for _ in range(2):
        run_job(config(rerun="all"), "")
    record = record_of(config())
    attempts = [line for line in record.log_path.read_text().splitlines() if "attempt" in line]
    assert attempts == [f"attempt of process {record.history()[0]['pid']}"]


def test_the_tracker_is_closed_as_the_run_ended_and_after_its_record(config):
    done, failed = (
        config(s, logger=f"{STUDIES}Tracker", **k)
        for s, k in (("Writes", {}), ("Raises", {"failure": "key"}))
    )
    run_job(done, "")
    run_job(failed, "")
    assert (record_of(done).directory / "closed.txt").read_text() == "done failed=False"
    assert (record_of(failed).directory / "closed.txt").read_text() == "error failed=True"


def test_a_tracker_that_fails_at_the_end_does_not_undo_the_run(config):
    job = config(logger=f"{STUDIES}BrokenTracker")
    assert run_job(job, "") is Status.DONE
    assert "the server is gone" in record_of(job).log_path.read_text()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE", 0.1)


@pytest.mark.usefixtures("impatient")
def test_a_run_of_another_process_is_left_alone(config):
    job = config()
    record = record_of(job)
    with record.lock():
        record.begin(job)
        before = files(record.directory)
        assert run_job(job, "") is Status.RUNNING
        settle(record, Status.KILLED, "not so")
        assert files(record.directory) == before


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("stored", "after"), [("running", "killed"), ("done", "done"), (None, None)])
def test_settling_writes_the_end_of_a_run_that_has_none(config, stored, after):
    record = record_of(config())
    if stored:
        record.begin(config())
        record.append({"step": 0, "loss/train": 0.5})
    if stored == "done":
        record.finish("done")
    settle(record, Status.KILLED, "its process is gone")
    assert (record.status or {}).get("status") == after
    assert after != "killed" or record.summary()["loss/train"] == 0.5


def test_an_interrupt_ends_the_job_and_says_so(config):
    job = config("Sleeps")
    record = record_of(job)

    def interrupt():
        while record.last_row() is None:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)  # to this process alone, as an IDE's stop button does

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_job(job, "")
    thread.join()
    assert record.status["status"] == "interrupted"
    assert record.status["message"] == "by the user"
    assert not psutil.pid_exists(record.last_row()["pid"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("study", "status", "message"),
    [
        ("Sleeps", "interrupted", "the process that started it was killed"),
        ("Deaf", "running", ""),
        pytest.param(
            "HoldsInterpreter",
            "running",
            "",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG"),
        ),
    ],
)
def test_all_processes_of_a_job_end_with_the_one_that_started_it(config, study, status, message):
    job = config(study)
    record = record_of(job)
    parent = multiprocessing.get_context("spawn").Process(target=run_job, args=(job, ""))
    parent.start()
    while record.last_row() is None:
        time.sleep(0.02)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert record.last_row()["pid"] in [child.pid for child in children]
    parent.kill()
    parent.join()
    _, alive = psutil.wait_procs(children, timeout=TWO_SECONDS)
    assert alive == []
    assert (record.status["status"], record.status["message"]) == (status, message)


def test_jobs_at_once_get_one_index_line_each(config):
    configs = [config(rows=n) for n in (1, 2)]
    threads = [threading.Thread(target=run_job, args=(job, f"rows={n}")) for n, job in enumerate(configs, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (SweepIndex(configs[0]["results_dir"], "s").directory / "index.jsonl").read_text().splitlines()
    assert {json.loads(line)["job"] for line in lines} == {"rows=1", "rows=2"}
    assert {record_of(job).status["status"] for job in configs} == {"done"}
