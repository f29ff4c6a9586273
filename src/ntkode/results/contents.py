"""The contents of a record, compared with the sizes and digests recorded when the run ended."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from ntkode.results.identity import HASH_DIGITS, id_digits
from ntkode.results.integrity import HISTORY, Measures, check, check_size
from ntkode.results.records import RunRecord
from ntkode.results.secrets import is_masked
from ntkode.results.status import Status
from ntkode.results.storage import RecordUnreadable, parse_object, parse_rows, read_bytes, to_json

_ID = re.compile(rf"-([0-9a-f]{{{HASH_DIGITS}}})$")
OTHERS = (HISTORY, "config.yaml")
"""The files that are not part of `Contents`."""
T = TypeVar("T")


@dataclass(frozen=True)
class Contents:
    """The JSON files of a record; empty where a run has stored no such file.

    Attributes:
        status: `status.json`.
        config: `config.json`, the resolved config.
        summary: `summary.json`.
        provenance: `provenance.json`.
    """

    status: dict[str, Any]
    config: dict[str, Any]
    summary: dict[str, Any]
    provenance: dict[str, Any]


def read_contents(record: RunRecord) -> Contents:
    """The JSON files of a record, each with the recorded digest; all other files have the recorded size.

    Records of earlier versions of ntkode have no digests: their files need only be readable.

    Raises:
        RecordUnreadable: a file is missing or damaged, or the config is that of another run.
    """
    return _unless_recomputed(record, lambda status: _contents(record, status))


def read_whole(record: RunRecord) -> Contents:
    """As `read_contents`; the recorded digests of all other files are compared too, so that all are read.

    Raises:
        RecordUnreadable: as for `read_contents`.
    """
    return _unless_recomputed(record, lambda status: _whole(record, status))


def read_history(record: RunRecord) -> list[dict[str, Any]]:
    """The complete rows of a record's history, with the recorded digest.

    Raises:
        RecordUnreadable: the record does not exist, or the history is missing or damaged.
    """
    return _unless_recomputed(record, lambda status: _rows(record, status))


def damage(record: RunRecord) -> str | None:
    """What is missing or damaged in the record of a run that has ended, in words; None if nothing is.

    All files are read, so that a single changed bit is found.
    """
    try:
        if record.standing in (None, Status.RUNNING):
            return None
        read_whole(record)
        read_history(record)
    except RecordUnreadable as problem:
        return str(problem)
    return None


def _unless_recomputed(record: RunRecord, read: Callable[[dict[str, Any]], T]) -> T:
    """`read(status)`; once more if it fails because the run was being computed meanwhile."""
    status = record.status
    if status is None:
        raise RecordUnreadable("incomplete: no status.json or config.json")
    try:
        return read(status)
    except RecordUnreadable:
        now = record.status
        if now is None or now == status:
            raise
        return read(now)


def _contents(record: RunRecord, status: dict[str, Any]) -> Contents:
    recorded = _measures(status)
    directory = str(record.directory)  # joining paths takes a tenth of the time of `load`
    config = _object(directory, "config.json", recorded)
    if config is None:
        raise RecordUnreadable("incomplete: no status.json or config.json")
    _check_identity(record, config)
    if recorded is not None:
        for name in OTHERS:
            check_size(directory, name, recorded)
    summary = _object(directory, "summary.json", recorded)
    provenance = _object(directory, "provenance.json", recorded)
    return Contents(status, config, summary or {}, provenance or {})


def _whole(record: RunRecord, status: dict[str, Any]) -> Contents:
    contents, recorded = _contents(record, status), _measures(status)
    if recorded is not None:
        for name in OTHERS:
            check(name, read_bytes(record.directory / name), recorded)
    return contents


def _object(directory: str, name: str, recorded: Measures | None) -> dict[str, Any] | None:
    content = read_bytes(f"{directory}/{name}")
    if recorded is not None:
        check(name, content, recorded)
    return None if content is None else parse_object(content, name)


def _rows(record: RunRecord, status: dict[str, Any]) -> list[dict[str, Any]]:
    content, recorded = read_bytes(record.directory / HISTORY), _measures(status)
    if recorded is not None:
        check(HISTORY, content, recorded)
    return parse_rows((content or b"").split(b"\n")[:-1], HISTORY)


def _measures(status: dict[str, Any]) -> Measures | None:
    """The recorded measures; None while the run is computed, and in records of earlier versions."""
    recorded = status.get("files")
    return recorded if isinstance(recorded, dict) else None


def _check_identity(record: RunRecord, config: dict[str, Any]) -> None:
    """Compare the digits of the run's id, if it has some, with those of its config.

    Raises:
        RecordUnreadable: the config is that of another run.
    """
    wanted = _ID.search(record.run_id)
    if wanted is None or id_digits(config) == wanted[1]:
        return
    if is_masked(config):  # the id is that of the config with its secrets
        return
    # JSON turns keys that are numbers into text, YAML does not.
    content = read_bytes(record.directory / "config.yaml")
    with suppress(yaml.YAMLError, AttributeError, TypeError, ValueError):
        exact = yaml.safe_load(content or b"")
        if id_digits(exact) == wanted[1] and to_json(json.loads(to_json(exact))) == to_json(config):
            return
    raise RecordUnreadable(f"config.json is damaged, or another run's: its id ends in {id_digits(config)}")
