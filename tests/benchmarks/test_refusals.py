"""Every script ends in one message, without a traceback, if a file or folder is out of reach."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.results.stored import store

from ntkode.cli.refusal import BROKEN_PIPE

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
NOWHERE = "/dev/null/there"  # no user can write there
TOO_LONG = "x" * 300  # no file can have this name


@pytest.fixture
def results(tmp_path):
    """Results of one sweep, in the script's folder."""
    store(tmp_path / "results", "a", sweep="s")


def refusal(done, script):
    """The only line that a script wrote to standard error."""
    assert done.returncode == 1, done.stdout + done.stderr
    [line] = done.stderr.strip().splitlines()
    assert line.startswith(f"{script}: ")
    return line


@pytest.mark.parametrize(
    ("script_name", "arguments", "remedy"),
    [
        ("export", f"out={NOWHERE}", "out=FOLDER"),
        ("export", f"out={TOO_LONG}", "out=FOLDER"),
        ("export", "out=/proc/x", "out=FOLDER"),
        ("merge", f"results into={NOWHERE}", "into=FOLDER"),
        ("merge", f"results into={TOO_LONG}", "into=FOLDER"),
        ("merge", "results into=/etc/passwd", "into=FOLDER"),
        ("report", f"sweep=s out={NOWHERE}", "out=FOLDER"),
        ("report", f"sweeps=s out={TOO_LONG}", "out=FOLDER"),
        ("dashboard", f"--dry-run out={NOWHERE}", "out=FILE"),
        ("dashboard", "--dry-run out=.", "out=FILE"),
        ("activations", f"tanh --out {NOWHERE}", "--out FOLDER"),
        ("activations", "tanh --out /etc/passwd", "--out FOLDER"),
        ("advise", f"out={NOWHERE}", "out=FILE"),
        ("advice_evidence", f"out={NOWHERE}", "out=FILE"),
        ("perf/gradients", f"--out {NOWHERE}", "--out FILE"),
        ("perf/sweep", f"--out {NOWHERE}", "--out FILE"),
        ("perf/infinite_width", f"--out {NOWHERE}", "--out FOLDER"),
    ],
)
def test_a_target_that_cannot_be_written_is_one_message(script, results, script_name, arguments, remedy):
    line = refusal(script(script_name, *arguments.split()), script_name.removeprefix("perf/"))
    assert remedy in line
    assert any(path in line for path in ("/dev/null", "x" * 300, "/etc/passwd", "/proc/x", "dashboard: ."))


@pytest.mark.parametrize("script_name", ["export", "report", "sync", "advice_evidence", "paper_pages"])
def test_results_that_cannot_be_read_are_one_message(script, script_name):
    key = "results_dir" if script_name == "paper_pages" else "results"
    assert TOO_LONG in refusal(script(script_name, f"{key}={TOO_LONG}"), script_name)


def test_a_sweep_whose_name_is_no_file_name_is_one_message(script):
    done = script("run", f"sweep={TOO_LONG}", "size=smoke")
    assert "Traceback" not in done.stderr
    assert TOO_LONG in done.stderr


def test_a_sweep_s_folder_that_is_a_link_is_one_message(script, tmp_path):
    (tmp_path / "results" / "sweeps").mkdir(parents=True)
    (tmp_path / "results" / "sweeps" / "s").symlink_to(tmp_path, target_is_directory=True)
    done = script("run", "sweep=s", "size=smoke")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is a link" in done.stderr
    assert not (tmp_path / "index.jsonl").exists()


def test_a_closed_output_is_no_error(results, tmp_path):
    command = [sys.executable, str(SCRIPTS / "export.py")]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == BROKEN_PIPE


def test_evidence_is_not_written_from_a_part_of_the_runs(script, results, tmp_path):
    store(tmp_path / "results", "b", sweep="s")
    (tmp_path / "results" / "b" / "summary.json").write_text("{}")
    line = refusal(script("advice_evidence", "sweeps=s", "out=evidence.json"), "advice_evidence")
    assert "summary.json is damaged" in line
    assert not (tmp_path / "evidence.json").exists()


@pytest.mark.parametrize("script_name", ["report", "export"])
def test_damaged_runs_are_left_out_and_named(script, results, tmp_path, script_name):
    store(tmp_path / "results", "b", sweep="s")
    (tmp_path / "results" / "b" / "history.jsonl").write_text("")
    done = script(script_name, "sweep=s", "out=there")
    assert done.returncode == 1
    assert "b (history.jsonl is damaged: 0 bytes" in done.stdout + done.stderr
    assert "Warning" not in done.stderr


def test_a_job_that_finds_no_room_in_the_index_is_one_message(script, monkeypatch):
    write = os.write

    def short(descriptor, content):
        return write(descriptor, content[:10] if content.startswith(b'{"run_id"') else content)

    monkeypatch.setattr(os, "write", short)
    done = script("run", "size=smoke", "dataset=digits", "logger=none", "sweep=s")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "index.jsonl cannot be read or written (No space left on device)" in done.stderr
    assert Path("results/sweeps/s/index.jsonl").read_bytes() == b""
