"""The file `status.json` of a run: whether it is running, or how it ended."""

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from ntkode.files import write_atomically
from ntkode.results.storage import RecordUnreadable, read_json, to_json

DIGEST = "sha256"
"""The key of the digest of all other keys and their values."""


class Status(StrEnum):
    """Whether a run is running, or how it ended."""

    RUNNING = "running"
    DONE = "done"
    DIVERGED = "diverged"
    SOLVER_FAILED = "solver_failed"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    KILLED = "killed"
    TIMEOUT = "timeout"


_STATUSES = frozenset(map(str, Status))  # a lookup is faster than Status(…)


def write_status(path: Path, content: Mapping[str, Any]) -> None:
    """Store `content` with its digest (key `sha256`)."""
    write_atomically(path, to_json({**content, DIGEST: _digest(content)}, indent=1))


def read_status(path: Path | str) -> dict[str, Any] | None:
    """The content of a status file without its digest; None if the file does not exist.

    Raises:
        RecordUnreadable: the file is corrupt, does not have the recorded digest, or has an unknown status.
    """
    content = read_json(path)
    if content is None:
        return None
    recorded = content.pop(DIGEST, None)  # files of earlier versions have none
    if recorded is not None and recorded != _digest(content):
        raise RecordUnreadable(f"{path} is damaged: its sha256 differs from the recorded one")
    status = content.get("status")
    if not isinstance(status, str) or status not in _STATUSES:
        raise RecordUnreadable(f"{path} has an unknown status: {status!r}")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
