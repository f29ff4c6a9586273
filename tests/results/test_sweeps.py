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


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_torn_line_is_removed_before_the_next_job_is_added(tmp_path, cut):
    index = SweepIndex(tmp_path, "s")
    for number in range(3):
        index.add(f"r{number}", f"job {number}", number)
    path = index.directory / "index.jsonl"
    os.truncate(path, path.stat().st_size - cut)
    index.add("r2", "job 2", 2)
    assert list(index.runs().values()) == ["r0", "r1", "r2"]
    assert index.problems() == []


def test_jobs_added_after_a_repair_are_those_after_its_size(tmp_path):
    index = SweepIndex(tmp_path, "s")
    index.add("r1", "a")
    index.add("r2", "b")
    path = index.directory / "index.jsonl"
    os.truncate(path, path.stat().st_size - 10)
    index.repair()
    since = index.size()
    index.add("r2", "b")
    assert index.runs(since) == {"b": "r2"}
    assert len(path.read_text().splitlines()) == 2


def test_a_torn_line_longer_than_a_block_is_removed(tmp_path):
    index = SweepIndex(tmp_path, "s")
    index.add("r1", "a")
    with (index.directory / "index.jsonl").open("a") as file:
        file.write("x" * 10_000)
    index.add("r2", "b")
    assert list(index.runs()) == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1, 2]", "not a JSON object"),
        ("7", "not a JSON object"),
        ("null", "not a JSON object"),
        ('{"run_id": "b", "jo', "not a JSON object"),
        ("\x00\x00", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ('{"job": "half"}', "run_id=None"),
        ('{"run_id": "../../b", "job": "b", "number": 0}', "run_id='../../b'"),
        ('{"run_id": ["b"], "job": "b", "number": 0}', "run_id="),
        ('{"run_id": "b", "job": ["b"], "number": 0}', "no job"),
        ('{"run_id": "b", "job": "b", "number": null}', "no number"),
        ('{"run_id": "b", "job": "b", "number": "1"}', "no number"),
        ('{"run_id": "b", "job": "b", "number": 0, "choices": {"activation": ["a"]}}', "choices="),
        ('{"run_id": "b", "job": "b", "number": 0, "sha256": "0123"}', "sha256"),
    ],
)
def test_lines_that_are_not_jobs_are_named_and_left_out(tmp_path, line, reason):
    index = SweepIndex(tmp_path, "s")
    index.add("r1", "a")
    with (index.directory / "index.jsonl").open("a") as file:
        file.write(line + "\n\n")
    index.add("r2", "c", 1)
    assert index.runs() == {"a": "r1", "c": "r2"}
    [problem] = index.problems()
    assert "index.jsonl, line 2, is not a job" in problem
    assert reason in problem
    size = index.size()
    assert index.repair() == [problem]
    assert index.problems() == []
    assert index.runs() == {"a": "r1", "c": "r2"}
    assert index.size() == size


def test_a_changed_digit_is_named(tmp_path):
    index = SweepIndex(tmp_path, "s")
    index.add("r1", "width=64", choices={"activation": "power2"})
    path = index.directory / "index.jsonl"
    path.write_text(path.read_text().replace("power2", "power3"))
    assert index.runs() == {}
    assert "sha256" in index.problems()[0]


def test_lines_of_earlier_versions_have_no_digest(tmp_path):
    index = SweepIndex(tmp_path, "s")
    index.add("r1", "a")
    with (index.directory / "index.jsonl").open("a") as file:
        file.write('{"run_id": "r2", "job": "b", "number": 1, "added": "2025"}\n')
    assert index.runs() == {"a": "r1", "b": "r2"}
    assert not index.problems()


def test_a_line_for_which_there_is_no_room_is_an_error_and_leaves_the_index_as_it_was(tmp_path, monkeypatch):
    index = SweepIndex(tmp_path, "s")
    index.add("r1", "a")
    before = (index.directory / "index.jsonl").read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:10]))
    with pytest.raises(OSError, match=r"No space left on device.*index\.jsonl"):
        index.add("r2", "b")
    monkeypatch.undo()
    assert (index.directory / "index.jsonl").read_bytes() == before
    index.add("r2", "b")
    assert list(index.runs()) == ["a", "b"]


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
