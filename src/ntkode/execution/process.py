"""The body of a cell's process: one study on one config, and how it ended, written in the record."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from ntkode.checks import positive
from ntkode.execution.fork_server import HELD_BACK, end_with_parent
from ntkode.execution.gpus import show_gpus
from ntkode.results import RunLocked, RunRecord, Status
from ntkode.signals import ENDING

INTERRUPTED = "by the user"
# Seconds that another process may take to let go of the run: one that is killed, or only looks at it.
PATIENCE = 2.0
# Exit codes of a cell that has written no end: another process owns its run; its record cannot be written; it
# was to be computed anew, could not start, and its record is as it was.
LOCKED = 75
UNWRITABLE = 74
KEPT = 73
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class TimedOut(BaseException):
    """The job took longer than `timeout`; like an interrupt, nothing that handles errors is to swallow it.

    Attributes:
        remedy: the override to try.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not done after {seconds:g} s")
        self.remedy = f"timeout={2 * seconds:g}, and rerun=failed to go on from the last checkpoint"


def run_cell(ready: Connection, config: dict[str, Any], job: str, directory: Path, gpus: str | None) -> None:
    """Compute a cell, or go on with it, and write how it ended: the body of its process.

    Args:
        ready: gives a word once the cell is wanted; where it is closed instead, nothing is done.
        config: the resolved config.
        job: the run's overrides, as its readable name.
        directory: the run's folder.
        gpus: see `devices.show_gpus`.
    """
    show_gpus(gpus)
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs ignore the first
        signal.signal(ending, signal.default_int_handler)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # a queue's warning, which the job's process answers
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    try:
        ready.recv()
    except EOFError:
        return
    threading.Thread(target=end_with_parent, daemon=True).start()
    record = RunRecord(directory)
    try:
        with record.lock(PATIENCE):
            if record.standing is Status.DONE and config["rerun"] != "all":
                return  # by another sweep, while this process started
            _redirect_output(record.log_path)
            _compute(config, job, record)
    except RunLocked as error:
        print(error, file=sys.stderr)
        sys.exit(LOCKED)
    except OSError:
        sys.exit(UNWRITABLE)


def _redirect_output(path: Path) -> None:
    """Send all that the process prints to the record: the terminal belongs to the sweep's monitor."""
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def _compute(config: dict[str, Any], job: str, record: RunRecord) -> None:
    import torch
    from threadpoolctl import threadpool_limits

    from ntkode.checks import whole_number
    from ntkode.execution.distribution import run_study
    from ntkode.studies.base import build

    tracker = None
    failure: BaseException | None = None
    try:
        _limit_time(config.get("timeout"))
        threads = whole_number("threads", config["threads"], least=1)
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            # Before anything of an earlier attempt goes: where it cannot start, a run that is done stays.
            tracker = build(config["logger"])(record, config, job)
            open_record(record, config)
            run_study(config, record, tracker)
    except BaseException as error:
        failure = error
        traceback.print_exc()
        if record.standing is Status.DONE:
            sys.exit(KEPT)
    for ending in ENDING:  # a second interrupt must not keep this from the record
        signal.signal(ending, signal.SIG_IGN)
    if failure is None:
        record.finish(Status.DONE)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # nobody has to wait for an upload
    else:
        if record.standing is not Status.RUNNING:
            open_record(record, config)
        status = _status_of(failure)
        record.finish(status, _message(failure, status), _remedy(failure))
    # After the record, which is the truth: an upload may fail, or take its time.
    if tracker is not None:
        try:
            tracker.close(failed=failure is not None)
        except Exception:
            traceback.print_exc()


def open_record(record: RunRecord, config: Mapping[str, Any]) -> None:
    """Begin the record afresh, or go on with what an earlier attempt has left."""
    if config["rerun"] == "all" or not record.checkpoints:
        record.begin(config)
    else:
        record.resume(config)


def _limit_time(limit: Any) -> None:
    """Have `TimedOut` raised after so many seconds, unless `limit` is None.

    Raises:
        ValueError: `limit` is no positive number.
    """
    if limit is None:
        return
    seconds = positive("timeout", limit)

    def end(number: int, frame: FrameType | None) -> None:
        raise TimedOut(seconds)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _status_of(failure: BaseException) -> Status:
    from ntkode.integrate import SolverFailure
    from ntkode.training import Diverged

    if isinstance(failure, Diverged):
        return Status.DIVERGED
    if isinstance(failure, SolverFailure):
        return Status.SOLVER_FAILED
    if isinstance(failure, TimedOut):
        return Status.TIMEOUT
    # Lightning answers an interrupt with SystemExit.
    if isinstance(failure, KeyboardInterrupt | SystemExit):
        return Status.INTERRUPTED
    return Status.ERROR


def _message(failure: BaseException, status: Status) -> str:
    """What went wrong, without the remedy where the failure tells them apart."""
    if status is Status.INTERRUPTED:
        return INTERRUPTED
    told = str(getattr(failure, "problem", failure))
    plain = isinstance(failure, ValueError | RuntimeError | TimedOut)
    return told if plain else f"{type(failure).__name__}: {told}"


def _remedy(failure: BaseException) -> str:
    if isinstance(failure, OSError) and failure.errno in NO_ROOM:
        return "free space on the disk, and rerun=failed to go on from the last checkpoint"
    return str(getattr(failure, "remedy", ""))
