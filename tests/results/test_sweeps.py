"""The index of a sweep's jobs."""

import multiprocessing
import os

import pytest

from ntkode.results import SweepIndex


def test_jobs_keep_their_order_and_their_last_run_counts(tmp_path):
    index = SweepIndex(tmp_path, "s")
    assert index.runs() == {}
    for run, job in [("r1", "activation=tanh"), ("r2", "activation=relu"), ("r3", "activation=tanh")]:
        index.add(run, job)
    assert list(index.runs().items()) == [("activation=tanh", "r3"), ("activation=relu", "r2")]
    assert index.directory == tmp_path / "sweeps" / "s"


def test_jobs_that_start_in_any_order_are_listed_as_typed(tmp_path):
    index = SweepIndex(tmp_path, "s")
    for number in (1, 0, 2):
        index.add(f"r{number}", f"job {number}", number)
    assert list(index.runs()) == ["job 0", "job 1", "job 2"]


def test_what_was_added_since(tmp_path):
    index = SweepIndex(tmp_path, "s")
    assert index.size() == 0
    index.add("r1", "a")
    before = index.size()
    assert index.runs(since=before) == {}
    index.add("r2", "b")
    assert index.runs(since=before) == {"b": "r2"}


def test_a_torn_line_is_left_out(tmp_path):
    index = SweepIndex(tmp_path, "s")
    index.add("r1", "a")
    with (index.directory / "index.jsonl").open("a") as file:
        file.write('{"run_id": "r2", "jo')
    assert index.runs() == {"a": "r1"}


def add_many(directory, worker):
    for number in range(50):
        SweepIndex(directory, "s").add(f"run-{worker}-{number}", f"job {worker} {number}")


def test_processes_add_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=add_many, args=(tmp_path, worker)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert len(SweepIndex(tmp_path, "s").runs()) == 200


def test_the_newest_sweep(tmp_path):
    assert SweepIndex.newest(tmp_path) is None
    for age, name in enumerate(["c", "a", "b"]):
        index = SweepIndex(tmp_path, name)
        index.add("r", "j")
        os.utime(index.directory / "index.jsonl", (1000 - age, 1000 - age))
    assert SweepIndex.newest(tmp_path) == "c"
    assert SweepIndex.names(tmp_path) == ["c", "a", "b"]


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="sweep="):
        SweepIndex(tmp_path, name)
