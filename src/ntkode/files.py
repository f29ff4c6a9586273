"""Files that appear whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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
