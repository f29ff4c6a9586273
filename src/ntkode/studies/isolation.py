"""Run one cell in a process of its own, so that nothing that happens to it reaches the other jobs.

A fork server with the heavy imports loaded makes such a process in milliseconds. The record says how the
cell ended, whatever happened.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from ntkode.results import (
    RecordUnreadable,
    RunLocked,
    RunRecord,
    Status,
    SweepIndex,
    damaged_file,
    mend,
    run_id,
    summarise,
)
from ntkode.studies.cell import INTERRUPTED, LOCKED, PATIENCE, UNWRITABLE, run_cell

# Seconds that an interrupted cell has to write its end.
GRACE = 15.0
# Seconds that a cell's process may take to start, the fork server's imports on a busy machine included.
START = 60.0
# What to try, by how a run ended whose own process could not say so.
REMEDIES = {
    Status.KILLED: "see log.txt in its folder",
    Status.TIMEOUT: "a larger timeout, and rerun=failed to go on from the last checkpoint",
}


def run_job(config: Mapping[str, Any], job: str, number: int = 0) -> Status:
    """Compute the cell of a resolved config, unless it is stored already, and say how it ended.

    Args:
        config: the resolved config as plain values, with `choices` (group → chosen name), `results_dir`,
            `sweep` and `rerun` ("none", "failed" or "all"); `timeout` in seconds, where there is one.
        job: the overrides that make this job, as its readable name.
        number: the job's place in its sweep.

    Returns:
        The run's status; `Status.RUNNING` where another process is computing it. Failures are statuses:
        nothing is raised but KeyboardInterrupt, and what keeps the sweep's index from being written.
    """
    record = RunRecord.open(config["results_dir"], run_id(config))
    index = SweepIndex(config["results_dir"], config["sweep"])
    index.add(record.run_id, job, number, config.get("choices"))
    try:
        return _run_unless_stored(record, config, job)
    except (OSError, RecordUnreadable) as error:  # there is no telling it in the record
        print(f"{record.run_id}: its record cannot be written or read: {error}", file=sys.stderr)
        return Status.ERROR


def _run_unless_stored(record: RunRecord, config: Mapping[str, Any], job: str) -> Status:
    if damaged_file(record):
        with suppress(RunLocked), record.lock():
            mend(record, config)
    stored = record.standing
    if stored is not None and not _wants_running(stored, config["rerun"]):
        return stored
    with suppress(RunLocked), record.lock():
        if record.status is None:  # so that the run is known, whatever happens before its process writes
            record.begin(config)
    context = _context()
    ready, go = context.Pipe(duplex=False)
    process = context.Process(target=run_cell, args=(ready, dict(config), job, record.directory), name=job)
    try:
        with go:  # closed without a word where an interrupt comes first: the cell then does nothing
            process.start()
            go.send(True)
        process.join(_patience(config))
        if process.exitcode is None:  # stuck where no signal reaches it
            _end(process)
            settle(record, Status.TIMEOUT, f"not done after {config['timeout']} s")
    except KeyboardInterrupt:
        _end(process)
        settle(record, Status.INTERRUPTED, INTERRUPTED)
        raise
    if process.exitcode == LOCKED:
        return record.standing or Status.RUNNING
    settle(record, Status.KILLED, _cause(process.exitcode))
    return record.standing or Status.KILLED


def settle(record: RunRecord, status: Status, message: str) -> None:
    """Write the end of a run whose process is gone; leave a run that has ended, or is another process's."""
    deadline = time.monotonic() + PATIENCE
    while record.standing is Status.RUNNING:
        with suppress(RunLocked), record.lock():
            if record.standing is Status.RUNNING:
                if record.summary() is None:
                    record.write_summary(summarise(record.history()))
                record.finish(status, message, REMEDIES.get(status, ""))
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _wants_running(stored: Status, rerun: str) -> bool:
    if stored is Status.DONE:
        return rerun == "all"
    # A record that says "running" belongs to a process that is gone, or holds the lock: trying shows which.
    failed = stored not in (Status.RUNNING, Status.INTERRUPTED)
    return not failed or rerun in ("failed", "all")


def _patience(config: Mapping[str, Any]) -> float | None:
    """Seconds until the cell must have ended by its own clock; None where there is no (valid) limit."""
    limit = config.get("timeout")
    return START + limit + GRACE if isinstance(limit, int | float) and limit > 0 else None


def _context() -> Any:
    # A joblib worker's default context is loky's, whose name the fork server does not know.
    multiprocessing.set_start_method("forkserver", force=True)
    multiprocessing.set_forkserver_preload(["ntkode.studies.training"])
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
    if exitcode == UNWRITABLE:
        return "its record could not be written"
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"the process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"the process ended with exit code {exitcode}"
