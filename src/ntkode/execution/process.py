"""The code that runs in a job's process: compute one study on one config, and record how the run ended."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from ntkode.checks import positive
from ntkode.execution.fork_server import HELD_BACK
from ntkode.execution.gpus import set_visible_gpus
from ntkode.files import open_regular, remove_link
from ntkode.orphans import has_lost_parent, interrupt_with_parent
from ntkode.results import RunLocked, RunRecord, Status
from ntkode.results.secrets import print_traceback, without_secrets
from ntkode.signals import ENDING

INTERRUPTED = "by the user"
ORPHANED = "the process that started it was killed"
# Seconds to wait for the run's lock: a process that is ending or only reads holds it briefly.
PATIENCE = 2.0
# Exit codes of a process that has recorded no status. LOCKED: another process computes the run; UNWRITABLE:
# the record cannot be written; KEPT: a done run could not be started again, and its record is unchanged.
LOCKED = 75
UNWRITABLE = 74
KEPT = 73
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class TimedOut(BaseException):
    """The job took longer than `timeout`; a BaseException, so that `except Exception` does not catch it.

    Attributes:
        remedy: the override to try.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not done after {seconds:g} s")
        self.remedy = f"timeout={2 * seconds:g}, and rerun=failed to continue from the last checkpoint"


def compute_run(
    ready: Connection, config: dict[str, Any], job: str, directory: Path, gpus: str | None, remark: str
) -> None:
    """Start or continue a run, and record how it ended: the target of a job's process.

    Args:
        ready: the run starts when a message arrives; if the connection closes first, nothing is computed.
        config: the resolved config.
        job: the job's overrides, as its readable name.
        directory: the run's folder.
        gpus: see `gpus.set_visible_gpus`.
        remark: the first part of the message with which the run ends; may be empty.
    """
    set_visible_gpus(gpus)
    for ending in (signal.SIGINT, signal.SIGTERM):  # background jobs of a shell start with SIGINT ignored
        signal.signal(ending, signal.default_int_handler)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # a queue's warning; the parent handles it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    try:
        ready.recv()
    except EOFError:
        return
    interrupt_with_parent()
    record = RunRecord(directory)
    try:
        with record.lock(PATIENCE):
            if record.standing is Status.DONE and config["rerun"] != "all":
                return  # another sweep has computed it while this process started
            _redirect_output(record.log_path)
            if remark:
                record.remark(remark)
            _compute(config, job, record)
    except RunLocked as error:
        print(error, file=sys.stderr)
        sys.exit(LOCKED)
    except OSError:
        sys.exit(UNWRITABLE)


def _redirect_output(path: Path) -> None:
    """Redirect stdout and stderr to a file, because the sweep's monitor uses the terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    remove_link(path)
    with open_regular(path, "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def _compute(config: dict[str, Any], job: str, record: RunRecord) -> None:
    import torch
    from threadpoolctl import threadpool_limits

    from ntkode.checks import whole_number
    from ntkode.execution.distribution import run_study
    from ntkode.studies.base import build

    sys.argv = without_secrets(sys.argv, os.environ)  # W&B stores it
    tracker = None
    failure: BaseException | None = None
    try:
        _limit_time(config.get("timeout"))
        threads = whole_number("threads", config["threads"], least=1)
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            # The tracker first: if it cannot start, the record of an earlier, done attempt is kept.
            tracker = build(config["logger"])(record, config, job)
            open_record(record, config)
            run_study(config, record, tracker)
    except BaseException as error:
        failure = error
        print_traceback()
        if record.standing is Status.DONE:
            sys.exit(KEPT)
    for ending in ENDING:  # a second interrupt must not prevent the status from being recorded
        signal.signal(ending, signal.SIG_IGN)
    if failure is None:
        record.finish(Status.DONE)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the user may interrupt an upload
    else:
        if record.standing is not Status.RUNNING:
            open_record(record, config)
        status = _status_of(failure)
        record.finish(status, _message(failure, status), _remedy(failure))
    # Last, because an upload may fail or take long; the record is complete without it.
    if tracker is not None:
        try:
            tracker.close(failed=failure is not None)
        except Exception:
            print_traceback()


def open_record(record: RunRecord, config: Mapping[str, Any]) -> None:
    """Start the record, or resume it if an earlier attempt has left a checkpoint and `rerun` is not "all".

    With `rerun`, the user asks for the run: earlier kills do not count any more.
    """
    kills = record.kills if config["rerun"] == "none" else 0
    if config["rerun"] == "all" or not record.checkpoints:
        record.begin(config, kills)
    else:
        record.resume(config, kills)


def _limit_time(limit: Any) -> None:
    """Raise `TimedOut` in the main thread after `limit` seconds; None: no limit.

    Raises:
        ValueError: `limit` is not a positive number.
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
    # On an interrupt, Lightning raises SystemExit.
    if isinstance(failure, KeyboardInterrupt | SystemExit):
        return Status.INTERRUPTED
    return Status.ERROR


def _message(failure: BaseException, status: Status) -> str:
    """The failure as one message, without its remedy; with the exception's name unless that is common."""
    if status is Status.INTERRUPTED:
        return ORPHANED if has_lost_parent() else INTERRUPTED
    problem = str(getattr(failure, "problem", failure))
    plain = isinstance(failure, ValueError | RuntimeError | TimedOut)
    return problem if plain else f"{type(failure).__name__}: {problem}"


def _remedy(failure: BaseException) -> str:
    if isinstance(failure, OSError) and failure.errno in NO_ROOM:
        return "free space on the disk, and rerun=failed to continue from the last checkpoint"
    return str(getattr(failure, "remedy", ""))
