"""Files of records: JSON files, and growing files of JSON lines."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ntkode.files import NotRegular, open_regular, read_regular


class RecordUnreadable(ValueError):
    """A file of a record is corrupt or missing."""


def utc_now() -> str:
    """The present time in UTC as ISO 8601 with milliseconds; such strings sort by time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read_bytes(path: Path | str) -> bytes | None:
    """The content of a file; None if it does not exist.

    Raises:
        RecordUnreadable: it is a folder, a link or no regular file, or its folder is a link.
    """
    try:
        return read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (IsADirectoryError, NotRegular) as error:
        raise RecordUnreadable(str(error)) from error


def read_json(path: Path | str) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file does not exist.

    Raises:
        RecordUnreadable: the file does not hold a JSON object.
    """
    content = read_bytes(path)
    return None if content is None else parse_object(content, str(path))


def parse_object(content: bytes, name: str) -> dict[str, Any]:
    """The JSON object in `content`, the bytes of the file `name`.

    Raises:
        RecordUnreadable: it is not a JSON object.
    """
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecordUnreadable(f"{name} is corrupt ({error})") from error
    if not isinstance(parsed, dict):
        raise RecordUnreadable(f"{name} does not hold a JSON object")
    return parsed


def parse_rows(lines: Sequence[bytes], name: str) -> list[dict[str, Any]]:
    """The rows in the lines of a history: JSON objects with a whole number `step`.

    Raises:
        RecordUnreadable: a line is not a row.
    """
    whole = objects_at_once(lines)
    if whole is not None and all(map(_is_row, whole)):
        return whole
    rows = []  # line by line, to name the line that is not a row
    for number, line in enumerate(lines, start=1):
        row = next(parsable_objects([line]), None)
        if row is None or not _is_row(row):
            raise RecordUnreadable(f"{name}, line {number}, is not a history row: {line[:60]!r}")
        rows.append(row)
    return rows


def to_json(content: Any, indent: int | None = None) -> str:
    """JSON text of plain values and numpy or torch scalars; NaN and ±inf become `NaN` and `Infinity`."""
    return json.dumps(content, default=_plain, indent=indent) + "\n"


def whole_lines(path: Path, tail_bytes: int | None = None) -> list[bytes]:
    """The complete lines of a file (those that end in a newline), or of its last `tail_bytes` bytes.

    Raises:
        RecordUnreadable: as for `read_bytes`.
    """
    try:
        with open_regular(path) as file:
            start = 0 if tail_bytes is None else max(0, file.seek(0, os.SEEK_END) - tail_bytes)
            file.seek(start)
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    except (IsADirectoryError, NotRegular) as error:
        raise RecordUnreadable(str(error)) from error
    return lines[1 if start else 0 : -1]


def parsable_objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects among `lines`; all other lines are left out."""
    for line in lines:
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            yield content


def objects_at_once(lines: Sequence[bytes]) -> list[dict[str, Any]] | None:
    """The JSON objects of `lines`, twice as fast as line by line; None if a line is not an object."""
    try:
        content = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        return None
    # Two incomplete lines may form one object.
    complete = len(content) == len(lines) and all(isinstance(row, dict) for row in content)
    return content if complete else None


def _is_row(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("step"), int)


def _plain(value: Any) -> Any:
    """A numpy or torch scalar as a Python number, for JSON.

    Raises:
        TypeError: the value is no scalar.
    """
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a record cannot hold a {type(value).__name__}: {value!r}")
