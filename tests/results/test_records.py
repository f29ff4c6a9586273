"""The record of a run on disk."""

import json
import math
import multiprocessing
import resource

import numpy as np
import pytest

from ntkode.results import RecordUnreadable, RunLocked, RunRecord, Status, summarise


@pytest.fixture
def record(tmp_path):
    return RunRecord.open(tmp_path, "tanh-w8-s0-0123456789")


def rows(record, count):
    for step in range(count):
        record.append({"step": step, "loss/train": 1.0 / (step + 1)})


def test_nothing_is_stored_by_looking(record):
    assert record.status is None
    assert record.config is None
    assert record.summary() is None
    assert record.history() == []
    assert record.last_row() is None
    assert not record.directory.exists()


def test_a_run_from_begin_to_end(record):
    record.begin({"steps": 3, "model": {"width": 8}, "optimizer": {"lr": 1e-6}})
    assert record.status["status"] == "running"
    assert record.status["finished"] is None
    record.set_phase("training")
    assert record.status["phase"] == "training"
    rows(record, 3)
    record.write_summary(summarise(record.history()))
    record.write_provenance({"threads": 1})
    record.finish(Status.DONE)

    again = RunRecord.open(record.directory.parent, record.run_id)
    assert again.status["status"] == "done"
    assert again.status["started"] <= again.status["finished"]
    assert again.status["started"].endswith("+00:00")
    assert again.config == {"steps": 3, "model": {"width": 8}, "optimizer": {"lr": 1e-6}}
    assert [row["step"] for row in again.history()] == [0, 1, 2]
    assert again.last_row() == again.history()[-1]
    assert again.summary()["loss/train.first"] == 1.0


def test_the_yaml_holds_the_same_config(record):
    from omegaconf import OmegaConf

    config = {"lr": 1e-6, "name": "σ", "nothing": None, "list": [1, 2.0]}
    record.begin(config)
    assert OmegaConf.to_container(OmegaConf.load(record.directory / "config.yaml")) == config


def test_begin_wipes_an_earlier_attempt(record):
    record.begin({"steps": 3})
    rows(record, 2)
    record.log_path.write_text("old")
    record.write_summary({"loss/train": 1.0})
    record.finish("error", "broke", "try less")
    record.begin({"steps": 3})
    assert record.history() == []
    assert record.summary() is None
    assert record.log_path.read_text() == ""
    assert record.status["message"] == ""
    record.append({"step": 0})
    assert record.history() == [{"step": 0}]


def test_a_failure_keeps_its_message_remedy_and_phase(record):
    record.begin({})
    record.set_phase("learning rate")
    record.finish("solver_failed", "underflow in dt", "try solver.rtol=1e-4")
    stored = record.status
    assert (stored["status"], stored["message"], stored["remedy"], stored["phase"]) == (
        "solver_failed",
        "underflow in dt",
        "try solver.rtol=1e-4",
        "learning rate",
    )


def test_a_resumed_run_forgets_how_it_was_interrupted(record):
    record.begin({})
    started = record.status["started"]
    record.finish("interrupted", "stopped by the user")
    record.set_phase("training")
    assert record.status["status"] == "running"
    assert record.status["message"] == ""
    assert record.status["finished"] is None
    assert record.status["started"] == started


def test_an_unknown_status_is_refused(record):
    record.begin({})
    with pytest.raises(ValueError, match="finished"):
        record.finish("finished")


def test_scalars_of_numpy_and_torch_and_non_finite_numbers_are_kept(record):
    import torch

    record.append(
        {
            "step": np.int64(1),
            "a": np.float32(0.5),
            "b": torch.tensor(0.25, requires_grad=True),
            "c": math.nan,
            "d": math.inf,
            "e": np.float64(1 / 3),
        }
    )
    row = record.last_row()
    assert (row["step"], row["a"], row["b"], row["d"], row["e"]) == (1, 0.5, 0.25, math.inf, 1 / 3)
    assert math.isnan(row["c"])


def test_what_is_no_number_or_has_no_step_is_refused(record):
    with pytest.raises(TypeError, match="object"):
        record.append({"step": 0, "a": object()})
    with pytest.raises(ValueError, match="step"):
        record.append({"loss/train": 1.0})


def test_a_torn_last_line_is_left_out_and_cut_off_by_the_next_row(record):
    rows(record, 2)
    path = record.directory / "history.jsonl"
    with path.open("a") as file:
        file.write('{"step": 2, "loss/tr')
    reader = RunRecord(record.directory)
    assert [row["step"] for row in reader.history()] == [0, 1]
    assert reader.last_row()["step"] == 1
    reader.append({"step": 2})
    assert [row["step"] for row in reader.history()] == [0, 1, 2]


def test_a_corrupt_line_within_the_history_is_named(record):
    rows(record, 1)
    with (record.directory / "history.jsonl").open("a") as file:
        file.write("garbage\n")
    record.append({"step": 2})
    with pytest.raises(RecordUnreadable, match="line 2"):
        record.history()


def test_the_tail_of_a_long_history_is_read_without_the_rest(record):
    rows(record, 5000)
    recent = record.recent_rows()
    assert recent[-1]["step"] == 4999
    assert 10 < len(recent) < 5000
    assert recent == record.history()[-len(recent) :]


def test_a_corrupt_status_is_named(record):
    record.begin({})
    (record.directory / "status.json").write_text("{")
    with pytest.raises(RecordUnreadable, match=str(record.directory)):
        _ = record.status


def test_rows_are_on_disk_at_once(record):
    record.append({"step": 0})
    assert json.loads((record.directory / "history.jsonl").read_text()) == {"step": 0}


def hold(directory, held, release):
    with RunRecord(directory).lock():
        held.set()
        release.wait(30)


def test_one_process_at_a_time_holds_the_lock(record):
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(record.directory, held, release))
    other.start()
    assert held.wait(30)
    with pytest.raises(RunLocked, match="another process is computing run tanh-w8"), record.lock():
        pass
    release.set()
    other.join(30)
    with record.lock():
        pass
    with record.lock():
        pass


def test_the_lock_of_a_process_that_was_killed_is_free(record):
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(record.directory, held, release))
    other.start()
    assert held.wait(30)
    other.kill()
    other.join(30)
    assert (record.directory / ".lock").exists()
    with record.lock():
        pass


def test_a_resumed_run_keeps_its_rows_and_drops_its_status(record):
    record.begin({"steps": 3, "timeout": 1})
    rows(record, 2)
    record.log_path.write_text("old")
    record.write_provenance({"threads": 1})
    record.write_summary({"step": 1})
    record.finish("timeout", "not done after 1 s")
    aside = record.directory / ".status.json.0123abcd"
    aside.write_text("{")
    started = record.status["started"]
    record.resume({"steps": 3, "timeout": 2})
    assert (record.status["status"], record.status["message"]) == ("running", "")
    assert record.status["started"] == started
    assert [row["step"] for row in record.history()] == [0, 1]
    assert record.log_path.read_text() == "old"
    assert record.provenance() == {"threads": 1}
    assert record.config["timeout"] == 2
    assert record.summary() is None
    assert not aside.exists()


def test_the_history_is_cut_back_to_a_size_that_was_noted(record):
    rows(record, 2)
    size = record.sync_history()
    rows(record, 3)
    assert record.has_rows_up_to(size)
    assert not record.has_rows_up_to(size - 1)
    assert not record.has_rows_up_to(10 * size)
    record.cut_history(size)
    assert [row["step"] for row in record.history()] == [0, 1]
    record.append({"step": 2})
    assert [row["step"] for row in record.history()] == [0, 1, 2]
    record.cut_history(0)
    assert record.history() == []


def test_the_status_is_stored_although_a_row_could_not_be(record):
    record.begin({})
    record.append({"step": 0})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            record.append({"step": 1, "text": "x" * 1000})
        record.finish("error", "no room")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert record.status["message"] == "no room"
    assert [row["step"] for row in record.history()] == [0]


def test_what_is_remarked_comes_before_the_end(record, capsys):
    record.begin({})
    record.remark("started over")
    record.finish("error", "broke")
    assert record.status["message"] == "started over; broke"
    assert capsys.readouterr().out == "started over\n"


def test_the_checkpoints_of_a_run_go_when_it_is_done_or_begins_anew(record):
    for end in (lambda: record.finish("done"), lambda: record.begin({})):
        record.checkpoints_dir.mkdir(parents=True)
        for step in (9, 10):
            (record.checkpoints_dir / f"step-{step:09d}.ckpt").write_text("x")
        assert [path.stem[-2:] for path in record.checkpoints] == ["10", "09"]
        end()
        assert record.checkpoints == []


def test_the_summary_of_a_history():
    history = [
        {"step": 0, "loss": 4.0, "late": math.nan},
        {"step": 1, "loss": 1.0},
        {"step": 2, "loss": 2.0, "late": 5.0},
        {"step": 3, "loss": math.inf, "late": 7.0},
    ]
    assert summarise(history) == {
        "step": 3,
        "loss": math.inf,
        "loss.first": 4.0,
        "loss.min": 1.0,
        "loss.max": 4.0,
        "late": 7.0,
        "late.first": 5.0,
        "late.min": 5.0,
        "late.max": 7.0,
    }
    assert summarise([]) == {}
    assert set(summarise([{"step": 0, "bad": math.nan}])) == {"step", "bad"}
