"""The lock of a run's folder, which names the process that holds it."""

from __future__ import annotations

import json
import os
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import filelock

from ntkode.results.storage import RecordUnreadable, read_json, utc_now

HOLDER = ".holder"
"""A run's file that names the process that holds its lock.

It is not the lock's file itself, which older versions of filelock empty at every attempt to lock it.
"""


class RunLocked(RuntimeError):
    """Another process holds the lock of the run."""


@contextmanager
def run_lock(directory: Path, patience: float) -> Iterator[None]:
    """Hold the lock of a run's folder during the `with` block.

    Args:
        directory: the run's folder.
        patience: seconds to wait for another process to release the lock.

    Raises:
        RunLocked: another process holds the lock; the message names it, and the command that ends it.
    """
    lock = filelock.FileLock(directory / ".lock", timeout=patience)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise RunLocked(_locked(directory)) from error
    holder = directory / HOLDER
    try:
        with suppress(OSError):  # the lock holds without it
            holder.unlink(missing_ok=True)  # of a process that was killed
            with holder.open("x") as file:  # "x" follows no link
                json.dump(_this_process(), file)
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _this_process() -> dict[str, str | int]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": utc_now()}


def _locked(directory: Path) -> str:
    problem = f"another process is computing run {directory.name} in {directory.parent}"
    other_folder = "set results_dir=… to another folder"
    try:
        holder = read_json(directory / HOLDER) or {}
        pid, host = int(holder["pid"]), shlex.quote(holder["host"])
        started = datetime.fromisoformat(holder["started"]).isoformat(timespec="seconds")
    except (RecordUnreadable, OSError, KeyError, TypeError, ValueError):  # it has just taken the lock
        return f"{problem}: wait until it ends, or {other_folder}"
    end = f"kill {pid}" if host == shlex.quote(socket.gethostname()) else f"ssh {host} kill {pid}"
    return (
        f"{problem}: process {pid} on {host}, since {started}: wait until it ends, end it by `{end}`, "
        f"or {other_folder}"
    )
