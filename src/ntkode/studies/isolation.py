"""Run one cell in a process of its own, so that nothing that happens to it reaches the other jobs.

A fork server with the heavy imports loaded makes such a process in milliseconds. The record says how the
cell ended, whatever happened.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from ntkode.results import RunLocked, RunRecord, Status, SweepIndex, run_id, summarise

# Seconds that an interrupted cell has to write its end.
GRACE = 15.0
# Seconds that a killed process may take to let go of its run.
PATIENCE = 2.0
INTERRUPTED = "by the user"


def run_job(config: Mapping[str, Any], job: str, number: int = 0) -> Status:
    """Compute the cell of a resolved config, unless it is stored already, and say how it ended.

    Args:
        config: the resolved config as plain values, with `choices` (group → chosen name), `results_dir`,
            `sweep` and `rerun` ("none", "failed" or "all").
        job: the overrides that make this job, as its readable name.
        number: the job's place in its sweep.

    Returns:
        The run's status; `Status.RUNNING` where another process is computing it. Failures are statuses:
        nothing is raised but KeyboardInterrupt.
    """
    record = RunRecord.open(config["results_dir"], run_id(config))
    SweepIndex(config["results_dir"], config["sweep"]).add(record.run_id, job, number)
    stored = _status(record)
    if stored is not None and not _wants_running(stored, config["rerun"]):
        return stored
    with suppress(RunLocked), record.lock():
        if record.status is None:  # so that the run is known, whatever happens before its process writes
            record.begin(config)
    context = _context()
    ready, go = context.Pipe(duplex=False)
    process = context.Process(target=_cell, args=(ready, dict(config), job, record.directory), name=job)
    try:
        with go:  # closed without a word where an interrupt comes first: the cell then does nothing
            process.start()
            go.send(True)
        process.join()
    except (KeyboardInterrupt, SystemExit):  # a queue that takes the job back ends the process by the latter
        _end(process)
        settle(record, Status.INTERRUPTED, INTERRUPTED)
        raise
    settle(record, Status.KILLED, _cause(process.exitcode))
    return _status(record) or Status.KILLED


def settle(record: RunRecord, status: Status, message: str) -> None:
    """Write the end of a run whose process is gone; leave a run that has ended, or is another process's."""
    deadline = time.monotonic() + PATIENCE
    while _status(record) is Status.RUNNING:
        with suppress(RunLocked), record.lock():
            if _status(record) is Status.RUNNING:
                if record.summary() is None:
                    record.write_summary(summarise(record.history()))
                record.finish(status, message, "see log.txt in its folder" if status is Status.KILLED else "")
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _status(record: RunRecord) -> Status | None:
    stored = record.status
    return None if stored is None else Status(stored["status"])


def _wants_running(stored: Status, rerun: str) -> bool:
    if stored is Status.DONE:
        return rerun == "all"
    # A record that says "running" belongs to a process that is gone, or holds the lock: trying shows which.
    failed = stored not in (Status.RUNNING, Status.INTERRUPTED)
    return not failed or rerun in ("failed", "all")


def _context() -> Any:
    # A joblib worker's default context is loky's, whose name the fork server does not know.
    multiprocessing.set_start_method("forkserver", force=True)
    multiprocessing.set_forkserver_preload(["ntkode.studies.training", "ntkode.studies.distribution"])
    # The server inherits that interrupts are held back: one that comes while it imports must not end it.
    # Its tracker first, because starting that one lets them through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return multiprocessing.get_context("forkserver")


def _end(process: BaseProcess) -> None:
    """Have a cell end, with time to write its end; insist where it does not."""
    if process.pid is None:
        return
    for insist in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(process.pid, insist)
        process.join(GRACE)
        if process.exitcode is not None:
            return


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"the process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"the process ended with exit code {exitcode}"


def _cell(ready: Connection, config: dict[str, Any], job: str, directory: Path) -> None:
    """The body of the cell's process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the fork server holds it back
    try:
        ready.recv()
    except EOFError:
        return
    threading.Thread(target=end_with_parent, daemon=True).start()
    record = RunRecord(directory)
    try:
        with record.lock():
            record.begin(config)
            _redirect_output(record.log_path)
            _compute(config, job, record)
    except RunLocked as error:
        print(error, file=sys.stderr)


def end_with_parent(by: signal.Signals = signal.SIGINT) -> None:
    """End this process by a signal once the one that started it is gone: nobody waits for it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        # Where nobody reaps it, a process that is gone stays as a zombie.
        with suppress(psutil.NoSuchProcess):
            starter = psutil.Process(parent.pid)
            while starter.is_running() and starter.status() != psutil.STATUS_ZOMBIE:
                time.sleep(1.0)
        os.kill(os.getpid(), by)


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

    from ntkode.data.checks import whole_number
    from ntkode.studies.base import build
    from ntkode.studies.distribution import run_study

    tracker = None
    failure: BaseException | None = None
    try:
        threads = whole_number("threads", config["threads"], least=1)
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            tracker = build(config["logger"])(record, config, job)
            run_study(config, record, tracker)
    except BaseException as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second interrupt must not keep this from the record
        failure = error
        traceback.print_exc()
    if failure is None:
        record.finish(Status.DONE)
    else:
        status = _status_of(failure)
        record.finish(status, _message(failure, status), getattr(failure, "remedy", ""))
    # After the record, which is the truth: an upload may fail, or take its time.
    if tracker is not None:
        tracker.close(failed=failure is not None)


def _status_of(failure: BaseException) -> Status:
    from ntkode.integrate import SolverFailure
    from ntkode.training import Diverged

    if isinstance(failure, Diverged):
        return Status.DIVERGED
    if isinstance(failure, SolverFailure):
        return Status.SOLVER_FAILED
    # Lightning answers an interrupt with SystemExit.
    if isinstance(failure, KeyboardInterrupt | SystemExit):
        return Status.INTERRUPTED
    return Status.ERROR


def _message(failure: BaseException, status: Status) -> str:
    """What went wrong, without the remedy where the failure tells them apart."""
    if status is Status.INTERRUPTED:
        return INTERRUPTED
    told = str(getattr(failure, "problem", failure))
    return told if isinstance(failure, ValueError | RuntimeError) else f"{type(failure).__name__}: {told}"
