"""Copies of records from other folders, which may come from another machine.

A copy holds the files that ntkode stores for a run, as new files. All else in a run's folder is left out:
links, which may lead anywhere, other files, and files of an implausible size.
"""

import stat
import uuid
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from ntkode.files import open_regular, remove_folder
from ntkode.results.storage import RecordUnreadable

MIB = 2**20
LARGEST = {
    "status.json": 16 * MIB,
    "config.json": 16 * MIB,
    "config.yaml": 16 * MIB,
    "summary.json": 64 * MIB,
    "provenance.json": 64 * MIB,
    "history.jsonl": 4096 * MIB,
    "log.txt": 1024 * MIB,
    "metrics.csv": 4096 * MIB,
    "checkpoints/*.ckpt": 65_536 * MIB,
    "wandb/*run-*/*.wandb": 4096 * MIB,
    "wandb/*run-*/*.wandb.synced": MIB,
}
"""The files of a run (patterns of paths in its folder), and the largest size in bytes that is copied."""
NUMBERS = ("status.json", "config.json", "summary.json", "provenance.json", "history.jsonl")
"""The files without which a record is not the record of its run."""
FOLDERS = ("checkpoints", "wandb", "wandb/*run-*")
OMITTED = (
    ".lock",
    ".holder",
    ".*.????????",  # of a killed process that was writing a file
    "*/.*.????????",
    "wandb/debug*.log",
    "wandb/latest-run",
    "wandb/settings",
    "wandb/*run-*/files",
    "wandb/*run-*/logs",
    "wandb/*run-*/tmp",
)
"""What is left out without a message: locks, unfinished files, and what W&B does not need for an upload."""


def inventory(directory: Path) -> tuple[list[str], dict[str, str]]:
    """The files of the record in `directory` that a copy holds.

    Returns:
        Their paths in the folder, and by path why others are left out.

    Raises:
        RecordUnreadable: the folder is a link, or a file with numbers cannot be copied.
        OSError: a folder cannot be read.
    """
    if directory.is_symlink():
        raise RecordUnreadable(f"{directory} is a link")
    names: list[str] = []
    left_out: dict[str, str] = {}
    for name, problem in _contents(directory, PurePosixPath()):
        if problem is None:
            names.append(name)
        elif name in NUMBERS:
            raise RecordUnreadable(f"{name} {problem}")
        elif not any(_fits(name, pattern) for pattern in OMITTED):
            left_out[name] = problem
    return names, left_out


def copy_record(source: Path, target: Path) -> dict[str, str]:
    """Replace the folder `target` by a copy of the record in `source`; if this fails, it stays unchanged.

    Returns:
        By path in the folder, what is left out and why.

    Raises:
        RecordUnreadable: as for `inventory`.
        OSError: a file cannot be read or written.
    """
    names, left_out = inventory(source)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    new, old = aside / "new", aside / "old"
    try:
        new.mkdir(parents=True)
        for name in names:
            _copy(source / name, new / name)
        if target.exists():
            target.rename(old)
        new.rename(target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        remove_folder(aside)
    return left_out


def _contents(directory: Path, inside: PurePosixPath) -> Iterator[tuple[str, str | None]]:
    """The path of everything in a run's folder or in a folder inside it, and why it is not copied, if so."""
    for path in sorted((directory / inside).iterdir()):
        name = str(inside / path.name)
        state = path.lstat()
        if stat.S_ISDIR(state.st_mode) and any(_fits(name, folder) for folder in FOLDERS):
            yield from _contents(directory, PurePosixPath(name))
        else:
            yield name, _problem(name, state.st_mode, state.st_size)


def _problem(name: str, mode: int, size: int) -> str | None:
    if stat.S_ISLNK(mode):
        return "is a link"
    limit = next((limit for pattern, limit in LARGEST.items() if _fits(name, pattern)), None)
    if limit is None:
        return "is not a file that ntkode stores for a run"
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    return f"has {size} bytes, more than the {limit} that are copied" if size > limit else None


def _fits(name: str, pattern: str) -> bool:
    """Whether a path fits a pattern, whose `*` does not match a slash."""
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_regular(source) as old, target.open("xb") as new:
        while chunk := old.read(MIB):
            new.write(chunk)
