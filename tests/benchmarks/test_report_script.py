"""benchmarks/report.py as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ntkode.results import RunRecord, SweepIndex, summarise

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "report.py"


@pytest.fixture
def folder(tmp_path):
    for age, sweep in enumerate(["new", "old"]):
        index = SweepIndex(tmp_path / "results", sweep)
        record = RunRecord.open(tmp_path / "results", f"{sweep}-run")
        index.add(record.run_id, "activation=tanh")
        os.utime(index.directory / "index.jsonl", (1000 - age, 1000 - age))
        record.begin({"choices": {"activation": f"tanh_{sweep}"}, "steps": 2})
        for step in range(3):
            record.append({"step": step, "loss/train": 0.5**step, "loss/ratio": 0.5**step})
        record.write_summary(summarise(record.history()))
        record.finish("done")
    return tmp_path


def test_the_newest_sweep_by_default(folder):
    environment = {**os.environ, "COLUMNS": "100"}
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tanh_new" in done.stdout
    assert "0.250" in done.stdout
    for kind in ("csv", "png", "pdf"):
        assert f"results/sweeps/new/comparison.{kind}" in done.stdout
        assert (folder / "results" / "sweeps" / "new" / f"comparison.{kind}").exists()


def test_another_sweep_results_folder_and_output_folder(script, folder):
    (folder / "results").rename(folder / "kept")
    done = script("report", "sweep=old", "results=kept", "out=there")
    assert done.returncode == 0, done.stderr
    assert "tanh_old" in done.stdout
    assert (folder / "there" / "comparison.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "make run"),
        (["results=nowhere"], "nowhere"),
        (["sweep=nosuch"], "no results folder"),
        (["swep=x"], "swep=x"),
        (["sweep="], "sweep="),
    ],
    ids=str,
)
def test_nothing_to_report_is_one_clear_message(script, arguments, said):
    done = script("report", *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("sweep", "said"), [("nosuch", "stored sweeps: new, old"), ("a/b", "sweep='a/b'")])
@pytest.mark.usefixtures("folder")
def test_an_unknown_sweep_is_one_clear_message(script, sweep, said):
    done = script("report", f"sweep={sweep}")
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
