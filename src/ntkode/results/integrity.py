"""Sizes and digests of a record's files: measured when the run ends, compared whenever a file is read."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ntkode.files import open_regular
from ntkode.results.storage import RecordUnreadable

HISTORY = "history.jsonl"

FILES = ("config.json", "config.yaml", HISTORY, "summary.json", "provenance.json")
"""The files of a record whose content is fixed when the run ends."""

Measures = Mapping[str, Mapping[str, Any]]
"""By file name: `size` in bytes, `sha256` in hexadecimal and, for the history, the number of `rows`."""


def measures(directory: Path) -> dict[str, dict[str, Any]]:
    """The measures of those of `FILES` that exist in `directory`; they are then on the disk (fsync)."""
    return {name: _measure(directory / name) for name in FILES if (directory / name).exists()}


def check(name: str, content: bytes | None, recorded: Measures) -> None:
    """Compare the content of a file with its recorded measures, if there are any.

    Args:
        name: the file's name.
        content: what it holds; None if it does not exist.
        recorded: the measures of the record's files.

    Raises:
        RecordUnreadable: size or digest differ, or the file is missing.
    """
    _check_size(name, None if content is None else len(content), recorded)
    if content is None or name not in recorded:
        return
    if hashlib.sha256(content).hexdigest() != recorded[name]["sha256"]:
        raise RecordUnreadable(f"{name} is damaged: its sha256 differs from the recorded one")


def check_size(directory: str, name: str, recorded: Measures) -> None:
    """Compare the size of a file with the recorded one, without reading it.

    Raises:
        RecordUnreadable: the size differs, or the file is missing.
    """
    try:
        size = os.lstat(f"{directory}/{name}").st_size
    except (FileNotFoundError, NotADirectoryError):
        size = None
    _check_size(name, size, recorded)


def _check_size(name: str, size: int | None, recorded: Measures) -> None:
    expected = recorded.get(name)
    if expected is None:
        return
    if size is None:
        raise RecordUnreadable(f"{name} is missing")
    if size != expected["size"]:
        raise RecordUnreadable(f"{name} is damaged: {size} bytes, recorded {expected['size']}")


def _measure(path: Path) -> dict[str, Any]:
    with open_regular(path) as file:
        os.fsync(file.fileno())
        content = file.read()
    rows = {"rows": content.count(b"\n")} if path.name == HISTORY else {}
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), **rows}
