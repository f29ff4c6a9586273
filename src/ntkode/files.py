"""Files that appear whole or not at all, files that grow by whole lines, and files that are no links."""

import errno
import fcntl
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

LONGEST_NAME = 255
"""Bytes in a file's name, at most, on all common file systems."""


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
    aside = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}"
    try:
        with aside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        if error.errno and str(error.filename) in ("None", str(aside)):  # name the file that the caller knows
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        aside.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def prepare_folder(path: Path) -> None:
    """Create a folder, unless it exists, and check that files can be written there.

    Raises:
        OSError: it cannot be created or written to; the error names it.
    """
    path.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"?")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def append_line(path: Path, line: str) -> None:
    """Add `line` to a file, to which several processes may add lines at the same time.

    An incomplete last line, which a power cut or a full disk leaves, is removed first. If `line` is empty,
    nothing else happens. The line is on the disk (fsync) when the function returns.

    Raises:
        OSError: the line could not be written completely, and the file is as before.
    """
    with open_regular(path, "a+b") as file:
        descriptor = file.fileno()
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # released when the file is closed
        end = _end_of_lines(descriptor)
        os.ftruncate(descriptor, end)
        content = f"{line}\n".encode() if line else b""
        try:
            if os.write(descriptor, content) < len(content):  # a full disk takes a part, without an error
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise


def blank_lines(path: Path, is_kept: Callable[[bytes], bool]) -> None:
    """Overwrite all other lines of a file with spaces; its size stays, and lines can be added meanwhile.

    Raises:
        OSError: the file cannot be written.
    """
    with open_regular(path, "r+b") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        place = 0
        for line in file.read().split(b"\n"):
            if not is_kept(line):
                file.seek(place)
                file.write(b" " * len(line))
            place += len(line) + 1


def _end_of_lines(descriptor: int) -> int:
    """The size of a file without an incomplete last line."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 4096)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def is_file_name(text: str) -> bool:
    """Whether `text` names a visible file of one folder: no path, no control characters, not too long."""
    visible = bool(text) and not text.startswith(".") and text.isprintable()
    return visible and not set(text) & {"/", "\\"} and len(text.encode()) <= LONGEST_NAME


def remove_asides(directory: Path) -> None:
    """Delete the temporary files of `atomic_file` that killed processes have left in a folder."""
    for path in directory.glob(".*.????????"):
        path.unlink(missing_ok=True)


class NotRegular(OSError):
    """A path, or its folder, is a link, or the path leads to a FIFO or a device."""


def open_regular(path: Path, mode: str = "rb") -> IO[Any]:
    """Open a regular file as `open` does; text is UTF-8.

    Raises:
        NotRegular: the file or its folder is a link, or it is no regular file; it is not read or changed.
        OSError: as for `open`.
    """
    _check_folder(str(path))
    return open(path, mode, encoding=None if "b" in mode else "utf-8", opener=_open)


def read_regular(path: Path | str) -> bytes:
    """The content of a regular file; twice as fast as `open_regular`, for the many small files of records.

    Raises:
        NotRegular: as for `open_regular`.
        OSError: as for `open_regular`.
    """
    name = str(path)
    _check_folder(name)
    descriptor = _open(name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, os.fstat(descriptor).st_size + 1)
        while more := os.read(descriptor, 2**20):  # a read returns at most 2 GiB
            content += more
        return content
    finally:
        os.close(descriptor)


def remove_link(path: Path) -> None:
    """Delete `path` if it exists and is neither a regular file nor a folder; a link's target is kept."""
    try:
        kind = path.lstat().st_mode
    except OSError:
        return
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        path.unlink()


def remove_folder(path: Path) -> None:
    """Delete a folder and its contents as far as possible; of a link only the link."""
    remove_link(path)
    shutil.rmtree(path, ignore_errors=True)


def _check_folder(path: str) -> None:
    folder = os.path.dirname(path)  # noqa: PTH120 (a Path costs more than the check)
    if os.path.islink(folder):  # noqa: PTH114
        raise NotRegular(f"{folder} is a link: replace it by the folder that it leads to")


def _open(path: str, flags: int) -> int:
    # O_NONBLOCK: to open a FIFO would wait for a writer; it does not affect regular files.
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError:
        if Path(path).is_symlink():
            raise NotRegular(f"{path} is a link: replace it by the file that it leads to") from None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    raise NotRegular(f"{path} is not a regular file")
