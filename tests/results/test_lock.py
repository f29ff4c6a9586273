"""The message of a run that another process holds."""

import json
import os
import socket
from datetime import datetime

import pytest

from ntkode.results import RunLocked, RunRecord
from ntkode.results.lock import HOLDER


@pytest.fixture
def record(tmp_path):
    return RunRecord.open(tmp_path, "tanh-w8")


def message(record):
    """The message of a second attempt to take the lock; the system refuses it also to the same process."""
    with pytest.raises(RunLocked) as refused, record.lock():
        pass
    return str(refused.value)


def test_it_names_the_holder_and_the_command_that_ends_it(record):
    with record.lock():
        started = json.loads((record.directory / HOLDER).read_text())["started"]
        text = message(record)
        assert message(record) == text  # the refused attempt has not deleted the name
    datetime.fromisoformat(started)
    assert f"process {os.getpid()} on {socket.gethostname()}, since {started[:19]}+00:00: " in text
    assert f"`kill {os.getpid()}`" in text
    assert "results_dir=" in text


def test_a_holder_on_another_machine_is_ended_there(record):
    with record.lock():
        holder = json.loads((record.directory / HOLDER).read_text())
        (record.directory / HOLDER).write_text(json.dumps(holder | {"pid": 7, "host": "node3"}))
        assert "`ssh node3 kill 7`" in message(record)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[1]",
        '{"pid": "7; rm -r ~", "host": "a", "started": "2026-01-01"}',
        '{"pid": 7, "host": 1, "started": "2026-01-01"}',
        '{"pid": 7, "host": "a", "started": "\\u001b[2J"}',
    ],
)
def test_a_holder_that_is_not_known_is_not_named(record, content):
    with record.lock():
        (record.directory / HOLDER).write_text(content)
        text = message(record)
    assert "wait until it ends, or set results_dir=" in text
    assert "kill" not in text


def test_a_host_is_quoted_for_the_shell(record):
    with record.lock():
        (record.directory / HOLDER).write_text(
            '{"pid": 7, "host": "a; rm -r ~", "started": "2026-01-01T00:00:00+00:00"}'
        )
        assert "`ssh 'a; rm -r ~' kill 7`" in message(record)


def test_the_name_goes_with_the_lock_and_follows_no_link(record, tmp_path):
    target = tmp_path / "precious"
    target.write_text("kept")
    record.directory.mkdir()
    (record.directory / HOLDER).symlink_to(target)
    with record.lock():
        assert not (record.directory / HOLDER).is_symlink()
    assert not (record.directory / HOLDER).exists()
    assert target.read_text() == "kept"
