"""Merging results of another machine, whose folders may hold links, FIFOs, large and foreign files."""

import os
import stat

import pytest
from tests.results.stored import store

from ntkode.results import SweepIndex, copying, load, merge


@pytest.fixture
def private(tmp_path):
    """A file outside all results folders."""
    path = tmp_path / "private"
    path.mkdir()
    (path / "file").write_text("private\n")
    return path / "file"


@pytest.fixture
def source(tmp_path):
    """The folder of a finished run on another machine."""
    return store(tmp_path / "theirs", "a", sweep="s").directory


@pytest.fixture
def merged(source, tmp_path):
    """Merge the source into a new folder; the outcome, and the folder of the run's copy."""

    def call():
        return merge([source.parent], tmp_path / "ours"), tmp_path / "ours" / "a"

    return call


def test_links_and_foreign_files_are_named_and_left_out(source, merged, private):
    (source / "log.txt").symlink_to(private)
    (source / "notes.txt").write_text("of the user")
    (source / "checkpoints").symlink_to(private.parent, target_is_directory=True)
    (source / "wandb" / "offline-run-1-a" / "files").mkdir(parents=True)
    (source / "wandb" / "offline-run-1-a" / "run-a.wandb").symlink_to(private)
    os.mkfifo(source / "metrics.csv")
    (source / ".bashrc").symlink_to(private)
    (source / "wandb" / "latest-run").symlink_to(source / "wandb" / "offline-run-1-a")  # made by W&B
    outcome, copy = merged()
    assert outcome.copied == ["a"]
    assert outcome.left_out == {
        str(source / ".bashrc"): "is a link",
        str(source / "checkpoints"): "is a link",
        str(source / "log.txt"): "is a link",
        str(source / "metrics.csv"): "is not a regular file",
        str(source / "notes.txt"): "is not a file that ntkode stores for a run",
        str(source / "wandb/offline-run-1-a/run-a.wandb"): "is a link",
    }
    assert f"left out: {source / 'log.txt'} is a link" in str(outcome)
    names = {path.name for path in copy.rglob("*")}
    assert not names & {"log.txt", "notes.txt", "checkpoints", "metrics.csv", "run-a.wandb"}
    assert list(load(copy.parent)["run_id"]) == ["a"]


@pytest.mark.parametrize("name", ["history.jsonl", "status.json", "config.json", "summary.json"])
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_record_whose_numbers_are_no_regular_files_is_not_copied(source, merged, private, name, kind):
    (source / name).rename(private.parent / name)
    if kind == "link":
        (source / name).symlink_to(private.parent / name)
    else:
        os.mkfifo(source / name)
    outcome, copy = merged()
    assert name in outcome.skipped[str(source)]
    assert not copy.exists()


def test_a_run_s_folder_that_is_a_link_is_not_copied(source, merged):
    source.rename(source.parent.parent / "elsewhere")
    source.symlink_to(source.parent.parent / "elsewhere", target_is_directory=True)
    outcome, copy = merged()
    assert "is a link" in outcome.skipped[str(source)]
    assert not copy.exists()


def test_files_of_implausible_size_are_left_out(source, merged, monkeypatch):
    (source / "log.txt").write_text("x" * 100)
    monkeypatch.setitem(copying.LARGEST, "log.txt", 99)
    outcome, copy = merged()
    assert outcome.left_out == {str(source / "log.txt"): "has 100 bytes, more than the 99 that are copied"}
    assert outcome.copied == ["a"]
    monkeypatch.setitem(copying.LARGEST, "history.jsonl", 9)
    (copy / "status.json").unlink()
    assert "history.jsonl has" in merged()[0].skipped[str(source)]


def test_copies_are_new_files_with_plain_permissions(source, merged):
    (source / "checkpoints").mkdir(mode=0o700)
    (source / "checkpoints" / "step-000000001.ckpt").write_bytes(b"\0")
    for path in source.rglob("*"):
        if path.is_file():
            path.chmod(0o4777)
    _, copy = merged()
    umask = os.umask(0)
    os.umask(umask)
    files = [path for path in copy.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}
    assert copy / "checkpoints" / "step-000000001.ckpt" in files


@pytest.mark.parametrize("run_id", ["../private", "/etc", "..", ".", ""])
def test_an_id_never_leads_out_of_the_results_folder(source, merged, private, run_id):
    index = SweepIndex(source.parent, "s")
    index.add(run_id or str(private.parent), "job=2", 1)
    _, copy = merged()
    assert SweepIndex(copy.parent, "s").runs() == {"run=a": "a"}
    assert SweepIndex(source.parent, "s").runs() == {"run=a": "a"}
