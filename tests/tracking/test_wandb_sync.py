"""`make sync` with a local server, real offline files and the real `wandb sync`."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tests.results.stored import store
from tests.tracking.wandb_fake import KEY, fake_server

from ntkode.results import NoResults, RunRecord, SweepIndex
from ntkode.tracking import WandbTracker, wandb_sync
from ntkode.tracking.wandb_server import ServerUnavailable
from ntkode.tracking.wandb_sync import offline_files

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "sync.py"
RUNS = {"first": "done", "second": "diverged", "third": "running"}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A results folder with two runs that have ended, one that is running, and one without W&B."""
    results = tmp_path_factory.mktemp("work") / "results"
    index = SweepIndex(results, "s")
    for number, (run_id, status) in enumerate(RUNS.items()):
        record = RunRecord.open(results, run_id)
        record.begin({"sweep": "s"})
        index.add(run_id, f"a={number}", number)
        tracker = WandbTracker(record, {"sweep": "s", "model": {"width": 8}}, f"a={number}")
        for step in range(3):
            tracker.loggers[0].log_metrics({"loss/train": 0.5**step}, step=step)
        tracker.close(failed=status != "done")
        if status != "running":
            record.finish(status)
    bare = RunRecord.open(results, "bare")
    bare.begin({})
    bare.finish("done")
    index.add("bare", "logger=none", 3)
    return results


@pytest.fixture
def results(stored):
    """The same folder, without the marks of sent runs."""
    for mark in stored.glob("*/wandb/offline-run-*/*.wandb.sync*"):
        mark.unlink()
    return stored


# Runs a script, and prints each connection and each started process to stderr.
AUDIT = """
import runpy, sys

def note(event, arguments):
    if event == "socket.connect":
        print("connects", arguments[1], file=sys.stderr)
    if event == "subprocess.Popen":
        print("starts", arguments[1], file=sys.stderr)

sys.addaudithook(note)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def sync(results, url, *arguments, key=KEY, options=()):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    environment |= {"HOME": str(results.parent), "WANDB_BASE_URL": url, "COLUMNS": "200"}
    environment |= {"WANDB_API_KEY": key} if key else {}
    command = [sys.executable, *options, str(SCRIPT), *arguments]
    return subprocess.run(
        command, cwd=results.parent, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_everything_is_sent_once(results):
    with fake_server() as server:
        first = sync(results, server.url)
        assert first.returncode == 0, first.stdout + first.stderr
        assert "2 to send, 1 still running: left for later, 1 with no offline W&B files" in first.stdout
        assert "2/2" in first.stdout
        assert set(server.runs) == {"first", "second"}
        assert server.runs["first"]["groupName"] == "s"
        assert server.runs["first"]["project"] == "ntkode"
        assert [row["loss/train"] for row in server.rows["first"]] == [1, 0.5, 0.25]
        assert server.exit_codes == {"first": 0, "second": 1}
        server.operations.clear()
        again = sync(results, server.url, "sweep=s")
        assert again.returncode == 0
        assert "0 to send, 2 sent earlier" in again.stdout
        assert server.operations == []
    assert not list(results.parent.glob("wandb"))


def test_what_the_server_refuses_is_named_and_waits(results):
    with fake_server() as server:
        server.refused = {"second"}
        done = sync(results, server.url, "entity=team")
        assert done.returncode == 1
        assert "1 sent, 1 not" in done.stdout
        [waiting] = offline_files(results).waiting
        assert waiting.name == "run-second.wandb"
        assert str(waiting.relative_to(results.parent)) in done.stdout
        assert server.runs["first"]["entity"] == "team"


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "no server"])
def test_without_key_or_server_nothing_is_sent(results, key):
    done = sync(results, "http://127.0.0.1:9", key=key, options=("-c", AUDIT))
    assert done.returncode == 1
    # `wandb sync`, which would retry for a minute and a half, is not started.
    assert "'sync'" not in done.stderr
    assert done.stderr.count("connects ('127.0.0.1', 9)") == (1 if key else 0)
    message = "http://127.0.0.1:9 cannot be reached" if key else "no key for W&B's server http://127.0.0.1:9"
    assert message in done.stderr
    assert "stay in the results folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(offline_files(results).waiting) == 2


def test_a_wrong_key_sends_nothing_and_says_so(results):
    with fake_server() as server:
        server.unauthorised = True
        done = sync(results, server.url)
    assert done.returncode == 1
    assert "user is not logged in" in done.stdout
    assert len(offline_files(results).waiting) == 2


def test_dry_run_lists_and_sends_nothing(results, script, monkeypatch):
    monkeypatch.chdir(results.parent)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("COLUMNS", "200")
    done = script("sync", "--dry-run")
    assert done.returncode == 0
    assert "run-first.wandb" in done.stdout
    assert "run-second.wandb" in done.stdout
    assert len(offline_files(results).waiting) == 2


def test_an_upload_ends_when_the_server_no_longer_answers(results, monkeypatch):
    answers = iter([None])

    def check(url):
        if next(answers, "gone"):
            raise ServerUnavailable("gone")

    started = []

    def hang(files, entity, folder):
        (folder / wandb_sync.OUTPUT).touch()
        started.append(subprocess.Popen(["sleep", "600"]))
        return started[0]

    monkeypatch.setattr(wandb_sync, "server_url", lambda: "http://here")
    monkeypatch.setattr(wandb_sync, "check_key", lambda url: None)
    monkeypatch.setattr(wandb_sync, "check_server", check)
    monkeypatch.setattr(wandb_sync, "send", hang)
    monkeypatch.setattr(wandb_sync, "STALL", 0.2)
    with pytest.raises(ServerUnavailable, match="gone"):
        wandb_sync.upload(offline_files(results).waiting, Console(quiet=True))
    assert started[0].returncode == -signal.SIGTERM


def test_no_sweep_is_one_clear_message(tmp_path, script):
    with pytest.raises(NoResults, match="make run"):
        offline_files(tmp_path)
    done = script("sync", "sweep=nosuch")
    assert done.returncode == 1
    assert "sync: there is no results folder" in done.stderr


def test_files_behind_links_are_not_sent(tmp_path):
    record = store(tmp_path, "a", sweep="s")
    other = tmp_path / "elsewhere" / "offline-run-1-b"
    other.mkdir(parents=True)
    (other / "run-b.wandb").write_bytes(b"\0")
    (record.directory / "wandb").symlink_to(other.parent, target_is_directory=True)
    assert offline_files(tmp_path, "s").without == ["a"]
    (record.directory / "wandb").unlink()
    (record.directory / "wandb" / "offline-run-1-a").mkdir(parents=True)
    (record.directory / "wandb" / "offline-run-1-a" / "run-a.wandb").symlink_to(other / "run-b.wandb")
    assert offline_files(tmp_path, "s").waiting == []
