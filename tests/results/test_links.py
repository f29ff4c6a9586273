"""A record never writes or reads through a link."""

import os

import pytest
from matplotlib.figure import Figure
from tests.results.stored import store

from ntkode.execution.process import _redirect_output
from ntkode.files import NotRegular
from ntkode.report.training.curves import save
from ntkode.results import RecordUnreadable, SweepIndex, load

FILES = (
    "status.json",
    "config.json",
    "config.yaml",
    "summary.json",
    "provenance.json",
    "history.jsonl",
    "log.txt",
)


@pytest.fixture
def linked(tmp_path):
    """A finished run, all of whose files and whose checkpoint folder are links to `private`."""
    record = store(tmp_path / "results", "a")
    private = tmp_path / "private"
    private.mkdir()
    for name in FILES:
        content = record.directory / name
        target = content.rename(private / name) if content.exists() else private / name
        target.touch()
        content.symlink_to(target)
    record.checkpoints_dir.symlink_to(private, target_is_directory=True)
    (private / "step-000000001.ckpt").write_bytes(b"theirs")
    return record, private


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_attempt_replaces_links_and_keeps_their_targets(linked):
    record, private = linked
    before = contents(private)
    with record.lock():
        record.begin({"steps": 1})
        record.append({"step": 0})
        record.write_summary({"steps": 1})
        record.write_provenance({})
        record.finish("done")
    assert contents(private) == before
    assert not [path for path in record.directory.iterdir() if path.is_symlink()]
    assert record.history() == [{"step": 0}]


def test_a_resumed_attempt_writes_through_no_link(linked):
    record, private = linked
    before = contents(private)
    assert record.checkpoints == []  # those of the link's target are not the run's
    assert not record.has_rows_up_to(1)
    with pytest.raises(NotRegular, match=r"history.jsonl is a link"):
        record.cut_history(0)
    record.append({"step": 7})
    assert record.history() == [{"step": 7}]
    assert contents(private) == before


def test_nothing_is_read_through_a_link(linked):
    record, private = linked
    for read in (
        lambda: record.status,
        lambda: record.config,
        record.history,
        record.summary,
        record.last_row,
    ):
        with pytest.raises(RecordUnreadable, match="is a link"):
            read()
    record.log_path.unlink()
    for name in FILES[:-1]:
        (record.directory / name).unlink()
        (private / name).rename(record.directory / name)
    assert record.status["status"] == "done"
    moved = record.directory.rename(private / "moved")
    record.directory.symlink_to(moved, target_is_directory=True)
    with pytest.raises(RecordUnreadable, match="is a link"):
        _ = record.status
    with pytest.raises(NotRegular, match="is a link"), record.lock():
        pass


def test_output_goes_through_no_link(linked, monkeypatch):
    record, private = linked
    monkeypatch.setattr(os, "dup2", lambda old, new: os.write(old, b"output\n"))
    _redirect_output(record.log_path)
    assert record.log_path.read_text() == "output\n" * 2
    assert (private / "log.txt").read_bytes() == b""


def test_a_fifo_does_not_block(tmp_path):
    record = store(tmp_path, "a")
    (record.directory / "history.jsonl").unlink()
    os.mkfifo(record.directory / "history.jsonl")
    with pytest.raises(RecordUnreadable, match="not a regular file"):
        record.history()


def test_an_index_and_figures_are_written_through_no_link(tmp_path):
    store(tmp_path, "a", sweep="s")
    private = tmp_path / "private"
    private.write_text("private")
    index = SweepIndex(tmp_path, "s")
    (index.directory / "index.jsonl").unlink()
    (index.directory / "index.jsonl").symlink_to(private)
    with pytest.raises(OSError, match=r"index\.jsonl is a link"):
        index.add("a", "run=a")
    for kind in ("png", "pdf"):
        (index.directory / f"comparison.{kind}").symlink_to(private)
    save(Figure(), index.directory / "comparison")
    assert private.read_text() == "private"


def test_a_run_s_folder_that_is_a_link_is_named_and_left_out(tmp_path):
    store(tmp_path, "a")
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    with pytest.warns(UserWarning, match="b is a link"):
        runs = load(tmp_path)
    assert list(runs["run_id"]) == ["a"]
