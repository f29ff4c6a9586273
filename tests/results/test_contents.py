"""Damage in the files of a record that has ended."""

import json
import os
import warnings

import pytest
import yaml
from tests.results.stored import forget_digests, store

from ntkode.files import write_atomically
from ntkode.results import (
    LeftOut,
    RecordUnreadable,
    RunRecord,
    damage,
    load,
    load_history,
    load_verified,
    run_id,
)
from ntkode.results.contents import read_contents, read_history
from ntkode.results.integrity import FILES

ENDED = (*FILES, "status.json")


def flip_a_digit(content):
    """Change the last digit, so that the size stays."""
    place = max(place for place, byte in enumerate(content) if chr(byte).isdigit())
    return content[:place] + str((int(chr(content[place])) + 1) % 10).encode() + content[place + 1 :]


CHANGES = {
    "emptied": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "three bytes shorter": lambda content: content[:-3],
    "null": lambda content: b"null\n",
    "{}": lambda content: b"{}\n",
    "a digit": flip_a_digit,
    "deleted": lambda content: None,
}


def change(path, how):
    content = CHANGES[how](path.read_bytes())
    path.unlink() if content is None else path.write_bytes(content)


@pytest.fixture
def record(tmp_path):
    config = {"choices": {"activation": "tanh"}, "model": {"width": 8}, "steps": 3}
    return store(tmp_path, run_id(config))


def test_the_status_states_the_measures_of_all_files(record):
    files = record.status["files"]
    assert set(files) == set(FILES)
    for name, stated in files.items():
        assert stated["size"] == (record.directory / name).stat().st_size
        assert len(stated["sha256"]) == 64
    assert files["history.jsonl"]["rows"] == 3
    assert damage(record) is None


@pytest.mark.parametrize("name", ENDED)
@pytest.mark.parametrize("how", CHANGES)
def test_damage_is_named_by_everything_that_reads_the_file(record, name, how):
    directory = record.directory.parent
    store(directory, "whole")
    change(record.directory / name, how)
    if (name, how) != ("status.json", "deleted"):  # then nothing is stored
        assert name in damage(record)
    with pytest.warns(UserWarning, match="left out unreadable records") as caught:
        runs = load_verified(directory)
    assert runs["run_id"].tolist() == ["whole"]
    assert name in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftOut)
        runs, history = load(directory), load_history(directory)
    present = set(runs["run_id"]), set(history["run_id"])
    # `load` reads neither the digest of the history nor config.yaml, `load_history` the history alone.
    assert present[0] == {"whole"} or (how == "a digit" and name in ("history.jsonl", "config.yaml"))
    assert present[1] == {"whole"} or name not in ("history.jsonl", "status.json")


def test_records_of_earlier_versions_are_accepted_without_measures(record):
    forget_digests(record)
    (record.directory / "summary.json").unlink()
    assert damage(record) is None
    assert len(read_history(record)) == 3
    assert load(record.directory.parent)["status"].tolist() == ["done"]


def test_the_config_must_be_the_one_of_the_id(record):
    forget_digests(record)
    change(record.directory / "config.json", "a digit")
    assert "config.json" in damage(record)
    with pytest.raises(RecordUnreadable, match="its id ends in"):
        read_contents(record)


def test_a_record_under_the_id_of_another_run_is_named(record):
    other = record.directory.with_name("run-0123456789")
    record.directory.rename(other)
    assert "another run's" in damage(RunRecord(other))


def test_keys_that_json_turns_into_text_do_not_change_the_id(tmp_path):
    config = {"schedule": {2: 0.1, 10: 0.2}, "seed": 0}
    record = RunRecord.open(tmp_path, run_id(config))
    record.begin(config)
    record.finish("done")
    assert json.loads((record.directory / "config.json").read_text())["schedule"] == {"2": 0.1, "10": 0.2}
    assert yaml.safe_load((record.directory / "config.yaml").read_text()) == config
    assert damage(record) is None


def test_a_run_that_is_computed_again_meanwhile_is_not_damaged(record, monkeypatch):
    stored = record.status
    statuses = iter([stored, {**stored, "status": "running", "files": None}])
    monkeypatch.setattr(RunRecord, "status", property(lambda self: next(statuses)))
    (record.directory / "summary.json").unlink()
    assert read_contents(record).status["status"] == "running"


def test_a_failed_run_states_its_measures_too(tmp_path):
    record = store(tmp_path, "a", status="diverged")
    change(record.directory / "history.jsonl", "half")
    assert "history.jsonl is damaged" in damage(record)


def test_a_running_run_has_none(record):
    record.set_phase("training")
    assert "files" not in record.status
    record.append({"step": 3})
    assert damage(record) is None


def test_the_files_are_on_the_disk_before_the_status_is_done(record, monkeypatch):
    record.set_phase("training")
    record.append({"step": 3})
    events = []
    fsync, history = os.fsync, (record.directory / "history.jsonl").stat().st_ino

    def note(descriptor):
        events.append("history" if os.fstat(descriptor).st_ino == history else "other")
        fsync(descriptor)

    def write(path, content):
        events.append("status")
        write_atomically(path, content)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr("ntkode.results.status.write_atomically", write)
    record.finish("done")
    assert "history" in events[: events.index("status")]
