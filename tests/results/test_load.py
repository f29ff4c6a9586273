"""Stored runs as data frames."""

import subprocess
import sys

import pandas as pd
import pytest

from ntkode.results import NoResults, RunRecord, SweepIndex, load, load_history, summarise


def store(directory, activation, status="done", rows=3):
    record = RunRecord.open(directory, f"{activation}-0")
    record.begin({"choices": {"activation": activation}, "model": {"width": 8}, "steps": rows})
    for step in range(rows):
        record.append({"step": step, "loss/train": 1.0 / (step + 1)})
        if step % 2 == 0:
            record.append({"step": step, "ntk/lambda_min": 0.5})  # a second row of one step
    record.write_summary(summarise(record.history()))
    record.finish(status, "" if status == "done" else "broke")
    return record


def test_one_row_a_run(tmp_path):
    store(tmp_path, "tanh")
    store(tmp_path, "relu", status="diverged")
    SweepIndex(tmp_path, "s").add("tanh-0", "activation=tanh")
    runs = load(tmp_path).set_index("run_id")
    assert sorted(runs.index) == ["relu-0", "tanh-0"]
    assert runs.loc["relu-0", "status"] == "diverged"
    assert runs.loc["relu-0", "message"] == "broke"
    assert runs.loc["tanh-0", "config.choices.activation"] == "tanh"
    assert runs.loc["tanh-0", "config.model.width"] == 8
    assert runs.loc["tanh-0", "loss/train"] == pytest.approx(1 / 3)
    assert runs.loc["tanh-0", "ntk/lambda_min.first"] == 0.5


def test_the_code_that_computed_a_run_is_a_column(tmp_path):
    git = {"commit": "abc", "dirty": True}
    record = store(tmp_path, "tanh")
    record.write_provenance({"git": git, "sources_sha256": "f00"})
    record.finish("done")
    store(tmp_path, "relu")
    runs = load(tmp_path).set_index("run_id")
    assert runs.loc["tanh-0", ["git.commit", "git.dirty", "sources_sha256"]].tolist() == ["abc", True, "f00"]
    assert runs.loc["relu-0", ["git.commit", "git.dirty", "sources_sha256"]].isna().all()


def test_only_the_runs_of_a_sweep_in_its_order(tmp_path):
    for activation in ("erf", "relu", "tanh"):
        store(tmp_path, activation)
    index = SweepIndex(tmp_path, "s")
    index.add("tanh-0", "activation=tanh")
    index.add("relu-0", "activation=relu")
    index.add("tanh-0", "activation=tanh seed=0")  # the same run by other overrides
    assert list(load(tmp_path, sweep="s")["run_id"]) == ["tanh-0", "relu-0"]


def test_unreadable_records_are_named_and_left_out(tmp_path):
    store(tmp_path, "tanh")
    (store(tmp_path, "relu").directory / "config.json").write_text('{"steps":')
    (store(tmp_path, "erf").directory / "config.json").unlink()
    (store(tmp_path, "sin").directory / "summary.json").write_text("[1]")
    (tmp_path / "empty").mkdir()
    with pytest.warns(UserWarning, match="left out unreadable records") as caught:
        runs = load(tmp_path)
    assert list(runs["run_id"]) == ["tanh-0"]
    (warning,) = caught
    assert warning.filename == __file__
    for name in ("relu-0", "erf-0", "sin-0", "empty"):
        assert name in str(warning.message)


def test_a_run_without_a_summary_is_a_row(tmp_path):
    RunRecord.open(tmp_path, "r").begin({"steps": 1})
    assert load(tmp_path)["status"].tolist() == ["running"]


def test_nothing_to_load_names_the_folder_and_the_command(tmp_path):
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NoResults, match=str(directory)) as caught:
            load(directory)
        assert "benchmarks/run.py" in str(caught.value)


def test_an_unknown_sweep_names_those_stored(tmp_path):
    SweepIndex(tmp_path, "mine").add("r", "j")
    with pytest.raises(NoResults, match=r"'other'.*mine"):
        load(tmp_path, sweep="other")


def test_history_has_a_row_a_run_and_step(tmp_path):
    store(tmp_path, "tanh")
    store(tmp_path, "relu", rows=2)
    history = load_history(tmp_path)
    assert len(history) == 5
    assert not history.duplicated(["run_id", "step"]).any()
    tanh = history[history["run_id"] == "tanh-0"].set_index("step")
    assert tanh["loss/train"].tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    assert tanh["ntk/lambda_min"].isna().tolist() == [False, True, False]
    assert set(load_history(tmp_path, ["relu-0"])["run_id"]) == {"relu-0"}


def test_histories_of_some_columns_and_of_many_runs(tmp_path, monkeypatch):
    store(tmp_path, "tanh")
    store(tmp_path, "relu", rows=2)
    whole = load_history(tmp_path)
    some = load_history(tmp_path, columns=["ntk/lambda_min", "not measured"])
    pd.testing.assert_frame_equal(some, whole[["run_id", "step", "ntk/lambda_min"]])
    monkeypatch.setattr(sys.modules["ntkode.results.load"], "RUNS_AT_ONCE", 1)
    pd.testing.assert_frame_equal(load_history(tmp_path), whole)


def test_histories_that_are_missing_or_corrupt_are_left_out(tmp_path):
    record = store(tmp_path, "tanh")
    (record.directory / "history.jsonl").write_text("x\n")
    with pytest.warns(UserWarning, match="tanh-0"):
        history = load_history(tmp_path, ["tanh-0", "missing"])
    assert history.empty
    assert list(history) == ["run_id", "step"]


def test_loading_needs_neither_torch_nor_lightning():
    code = (
        "import sys, ntkode.results; print({'torch', 'lightning', 'matplotlib'} & set(sys.modules) or 'none')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "none"
