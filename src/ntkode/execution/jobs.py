"""Run one cell in a process of its own, so that nothing that happens to it reaches the other jobs.

A fork server with the heavy imports loaded makes such a process in milliseconds. The record says how the
cell ended, whatever happened.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any

from ntkode.execution.fork_server import cell_context
from ntkode.execution.gpus import own_gpus
from ntkode.execution.process import INTERRUPTED, KEPT, LOCKED, PATIENCE, UNWRITABLE, open_record, run_cell
from ntkode.execution.slurm import PortTaken, at_work, leave_if_queued_again, this_task
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
        The run's status; `Status.RUNNING` where another process is computing it: in a SLURM job of several
        tasks, that of task 0, which the others help. Failures are statuses: nothing is raised but
        KeyboardInterrupt, and what keeps the sweep's index from being written.
    """
    record = RunRecord.open(config["results_dir"], run_id(config))
    task = this_task()
    if task is not None and task.rank > 0:
        from ntkode.execution.distribution import follow_task  # its imports take seconds

        follow_task(config, task, record.directory)
        return Status.RUNNING
    if task is not None and task.restarts:  # an earlier start was ended on its way, and may have begun anew
        config = {**config, "rerun": "failed"}
    index = SweepIndex(config["results_dir"], config["sweep"])
    index.add(record.run_id, job, number, config.get("choices"))
    try:
        with at_work(task, record.run_id):
            status = _run_unless_stored(record, config, job)
            if task is not None and status is Status.INTERRUPTED:
                leave_if_queued_again(task)
            return status
    except PortTaken as error:
        return _refuse(record, config, error)
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
    with own_gpus(config.get("trainer")) as gpus:
        process = _computed(record, config, job, gpus)
    if process.exitcode == LOCKED:
        return record.standing or Status.RUNNING
    if process.exitcode == KEPT:
        return Status.ERROR
    settle(record, Status.KILLED, _cause(process.exitcode))
    return record.standing or Status.KILLED


def _computed(record: RunRecord, config: Mapping[str, Any], job: str, gpus: str | None) -> BaseProcess:
    """The cell's process, which has ended.

    A fork server that several jobs share, as in a worker of Ray, has the environment of the first of them:
    the process is told which GPUs are its own.
    """
    context = cell_context()
    ready, go = context.Pipe(duplex=False)
    arguments = (ready, dict(config), job, record.directory, gpus)
    process = context.Process(target=run_cell, args=arguments, name=job)
    try:
        with go:  # closed without a word where an interrupt comes first: the cell then does nothing
            process.start()
            go.send(True)
        process.join(_patience(config))
        if process.exitcode is None:  # stuck where no signal reaches it
            _end(process)
            settle(record, Status.TIMEOUT, f"not done after {config['timeout']} s")
    except (KeyboardInterrupt, SystemExit):  # a queue that takes the job back ends the process by the latter
        _end(process)
        settle(record, Status.INTERRUPTED, INTERRUPTED)
        raise
    return process


def _refuse(record: RunRecord, config: Mapping[str, Any], error: PortTaken) -> Status:
    """Write that a job could not begin, unless its run is done already."""
    with suppress(RunLocked), record.lock():
        if record.standing is not Status.DONE:
            open_record(record, config)
            record.finish(Status.ERROR, str(error), error.remedy)
    return record.standing or Status.ERROR


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
