"""benchmarks/report.py as a user runs it."""

import os

import pytest

from ntkode.results import RunRecord, SweepIndex, load, summarise


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


def test_the_newest_sweep_by_default(script, folder):
    done = script("report")
    assert done.returncode == 0, done.stderr
    assert "tanh_new" in done.stdout
    assert "0.250" in done.stdout
    for kind in ("csv", "png", "pdf"):
        assert f"results/sweeps/new/comparison.{kind}" in done.stdout
        assert (folder / "results" / "sweeps" / "new" / f"comparison.{kind}").exists()
    # The page is stored next to the runs, but is not loaded as a run.
    assert "the page: 1 study" in done.stdout
    assert "results/report/report.html" in done.stdout
    assert "tanh_new" in (folder / "results" / "report" / "report.html").read_text()
    assert len(load(folder / "results")) == 2  # without a warning of a record that cannot be read


def test_the_page_of_named_sweeps_elsewhere(script, folder):
    done = script("report", "sweeps=old", "out=there")
    assert done.returncode == 0, done.stderr
    assert "tanh_old" in (folder / "there" / "report.html").read_text()
    assert (folder / "there" / "training" / "comparison.tex").exists()
    assert not (folder / "results" / "report").exists()
    assert not (folder / "results" / "sweeps" / "new" / "comparison.png").exists()


def test_omissions_of_the_page_are_listed_and_fail(script, folder):
    for name in ("x", "y"):
        broken = RunRecord.open(folder / "results", name)
        SweepIndex(folder / "results", "old").add(name, f"run={name}")
        broken.begin({"steps": 1})
        (broken.directory / "status.json").write_text("{")
    done = script("report", "sweeps=old")
    assert done.returncode == 1
    assert "left out: training (sweep old)" in done.stdout
    assert "results/x" in done.stdout
    assert "Traceback" not in done.stderr


def test_another_sweep_results_folder_and_output_folder(script, folder):
    (folder / "results").rename(folder / "kept")
    done = script("report", "sweep=old", "results=kept", "out=there")
    assert done.returncode == 0, done.stderr
    assert "tanh_old" in done.stdout
    assert (folder / "there" / "comparison.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "make run"),
        (["results=nowhere"], "nowhere"),
        (["sweep=nosuch"], "no results folder"),
        (["swep=x"], "swep=x"),
        (["sweep="], "sweep="),
        (["sweeps=nosuch"], "make run"),
        (["sweep=a", "sweeps=b"], "sweep=NAME"),
    ],
    ids=str,
)
def test_nothing_to_report_is_one_clear_message(script, arguments, message):
    done = script("report", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("sweep=nosuch", "stored sweeps: new, old"),
        ("sweep=a/b", "sweep='a/b'"),
        ("sweeps=new,nosuch", "stored sweeps: new, old"),
        ("out=file", "out=file: file is a file"),
    ],
)
def test_an_unusable_argument_is_one_clear_message(script, folder, argument, message):
    (folder / "file").touch()
    done = script("report", argument)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
