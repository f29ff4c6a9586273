"""Files of records: JSON files, written atomically, and growing files of JSON lines."""

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO


class RecordUnreadable(ValueError):
    """A file of a record is corrupt or missing."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` by `atomic_file`; text is encoded as UTF-8.

    Raises:
        OSError: the file cannot be written; its previous content is kept.
    """
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write; it replaces `path` when the `with` block ends without an error.

    Even if the machine fails, `path` holds all that was written or its previous content. Missing folders are
    created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with aside.open("xb") as file:
            yield file
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
    """Delete the temporary files of `atomic_file` that killed processes have left in a folder."""
    for path in directory.glob(".*.????????"):
        path.unlink(missing_ok=True)


def utc_now() -> str:
    """The present time in UTC as ISO 8601 with milliseconds; such strings sort by time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file does not exist.

    Raises:
        RecordUnreadable: the file does not hold a JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise RecordUnreadable(f"{path}: {error}; delete {path.parent} to run it again") from error
    if not isinstance(content, dict):
        raise RecordUnreadable(f"{path} does not hold a JSON object; delete {path.parent} to run it again")
    return content


def to_json(content: Any, indent: int | None = None) -> str:
    """JSON text of plain values and numpy or torch scalars; NaN and ±inf become `NaN` and `Infinity`."""
    return json.dumps(content, default=_plain, indent=indent) + "\n"


def whole_lines(path: Path, tail_bytes: int | None = None) -> list[bytes]:
    """The complete lines of a file (those that end in a newline), or of its last `tail_bytes` bytes."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        start = 0 if tail_bytes is None else max(0, file.seek(0, os.SEEK_END) - tail_bytes)
        file.seek(start)
        lines = file.read().split(b"\n")
    return lines[1 if start else 0 : -1]


def parsable_objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects among `lines`; all other lines are left out."""
    for line in lines:
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            yield content


def objects_at_once(lines: Sequence[bytes]) -> list[dict[str, Any]] | None:
    """The JSON objects of `lines`, twice as fast as line by line; None if a line is not an object."""
    try:
        content = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        return None
    # Two incomplete lines may form one object.
    complete = len(content) == len(lines) and all(isinstance(row, dict) for row in content)
    return content if complete else None


def _plain(value: Any) -> Any:
    """A numpy or torch scalar as a Python number, for JSON.

    Raises:
        TypeError: the value is no scalar.
    """
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a record cannot hold a {type(value).__name__}: {value!r}")
