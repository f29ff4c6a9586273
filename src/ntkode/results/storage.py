"""How the records are kept in files: whole JSON files, and JSON lines that grow."""

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class RecordUnreadable(ValueError):
    """A file of a record is not what this module writes."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` so that `path` holds all of it or what it held before, even if the machine fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with aside.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove_asides(directory: Path) -> None:
    """Remove what `write_atomically` had begun to write in a process that was killed."""
    for path in directory.glob(".*.????????"):
        path.unlink(missing_ok=True)


def utc_now() -> str:
    """The time as ISO 8601, UTC, to the millisecond; such strings sort by time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None where there is no file.

    Raises:
        RecordUnreadable: the file holds no JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise RecordUnreadable(f"{path}: {error}; delete {path.parent} to run it again") from error
    if not isinstance(content, dict):
        raise RecordUnreadable(f"{path} holds no JSON object; delete {path.parent} to run it again")
    return content


def to_json(content: Any, indent: int | None = None) -> str:
    """JSON text of plain values and numpy or torch scalars; NaN and ±inf become `NaN` and `Infinity`."""
    return json.dumps(content, default=_plain, indent=indent) + "\n"


def whole_lines(path: Path, tail_bytes: int | None = None) -> list[bytes]:
    """Lines that end in a newline, of the whole file or of its last `tail_bytes`."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        start = 0 if tail_bytes is None else max(0, file.seek(0, os.SEEK_END) - tail_bytes)
        file.seek(start)
        lines = file.read().split(b"\n")
    return lines[1 if start else 0 : -1]


def parsable_objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects among `lines`; what is none is left out."""
    for line in lines:
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            yield content


def objects_at_once(lines: Sequence[bytes]) -> list[dict[str, Any]] | None:
    """The JSON objects of `lines`, in half the time of one by one; None unless every line is one."""
    try:
        content = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        return None
    # Two broken lines may make one whole object together.
    whole = len(content) == len(lines) and all(isinstance(row, dict) for row in content)
    return content if whole else None


def _plain(value: Any) -> Any:
    """A numpy or torch scalar as a Python number, for JSON."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a record cannot hold a {type(value).__name__}: {value!r}")
