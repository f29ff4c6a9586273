"""Compute one run in a separate process, so that no failure of it affects the other jobs.

A fork server with the slow imports loaded starts such a process in milliseconds. The record states how the
run ended in every case: if the process dies before it has recorded its status, its parent records it.
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

from ntkode.execution.fork_server import job_context
from ntkode.execution.gpus import assigned_gpus
from ntkode.execution.process import INTERRUPTED, KEPT, LOCKED, PATIENCE, UNWRITABLE, compute_run, open_record
from ntkode.execution.slurm import PortTaken, announce, exit_if_requeued, this_task
from ntkode.results import (
    RecordUnreadable,
    RunLocked,
    RunRecord,
    Status,
    SweepIndex,
    damage,
    run_id,
    summarise,
)
from ntkode.results.secrets import masked_text

# Seconds that an interrupted process has to record its status.
GRACE = 15.0
# Seconds that a process may take to start, including the fork server's imports on a busy machine.
START = 60.0
# How often a run whose process was killed is resumed without rerun=failed: it may lack memory each time.
MOST_RESUMPTIONS = 3
GIVEN_UP = "killed {} times: see log.txt in its folder, and rerun=failed to continue from the last checkpoint"
# Remedies by status, for runs whose status the parent process records.
REMEDIES = {
    Status.KILLED: "see log.txt in its folder; the same command continues from the last checkpoint",
    Status.TIMEOUT: "a larger timeout, and rerun=failed to continue from the last checkpoint",
}


def run_job(config: Mapping[str, Any], job: str, number: int = 0) -> Status:
    """Compute the run of a resolved config, unless its result is stored already, and undamaged.

    Args:
        config: the resolved config as plain values, with `choices` (group → selected name), `results_dir`,
            `sweep` and `rerun` ("none", "failed" or "all"); `timeout` in seconds, if the job has one.
        job: the job's overrides, as its readable name.
        number: the job's position in its sweep.

    Returns:
        The run's status; a failure is a status, not an exception. `Status.RUNNING` if another process
        computes the run, as on the tasks of a SLURM job above task 0.

    Raises:
        KeyboardInterrupt: the user interrupts; the run's status is then `Status.INTERRUPTED`.
        OSError: the sweep's index cannot be written.
        SystemExit: SLURM has requeued the job.
    """
    record = RunRecord.open(config["results_dir"], run_id(config))
    task = this_task()
    if task is not None and task.rank > 0:
        from ntkode.execution.distribution import follow_task  # here: its imports take seconds

        follow_task(config, task, record.directory)
        return Status.RUNNING
    if task is not None and task.restarts:  # the requeued job continues, even if rerun=all
        config = {**config, "rerun": "failed"}
    index = SweepIndex(config["results_dir"], config["sweep"])
    job = masked_text(job)
    index.add(record.run_id, job, number, config.get("choices"))
    try:
        with announce(task, record.run_id):
            status = _run_unless_stored(record, config, job)
            if task is not None and status is Status.INTERRUPTED:
                exit_if_requeued(task)
            return status
    except PortTaken as error:
        return _refuse(record, config, error)
    except (OSError, RecordUnreadable) as error:  # the record cannot hold this message
        print(f"{record.run_id}: the record cannot be written or read: {error}", file=sys.stderr)
        return Status.ERROR


def _run_unless_stored(record: RunRecord, config: Mapping[str, Any], job: str) -> Status:
    remark = _discard_if_damaged(record, config)
    stored = record.standing
    if stored is not None and not wants_running(stored, record.kills, config["rerun"]):
        return stored
    with suppress(RunLocked), record.lock():
        if record.status is None:  # so that the record exists even if the process dies at its start
            record.begin(config)
    with assigned_gpus(config.get("trainer")) as gpus:
        process = _compute_in_process(record, config, job, gpus, remark)
    if process.exitcode == LOCKED:
        return record.standing or Status.RUNNING
    if process.exitcode == KEPT:
        return Status.ERROR
    message = "; ".join(filter(None, [remark, _cause(process.exitcode)]))
    settle(record, Status.KILLED, message, kills=1)
    return record.standing or Status.KILLED


def _discard_if_damaged(record: RunRecord, config: Mapping[str, Any]) -> str:
    """Prepare a damaged record for being computed again, and print what is damaged; what the run remarks."""
    if not damage(record):
        return ""
    with suppress(RunLocked), record.lock():
        problem = damage(record)  # again: another process may have replaced the record meanwhile
        if problem:
            open_record(record, config)
            print(f"{record.run_id}: {problem}: the run is computed again", file=sys.stderr)
            return f"computed again because {problem}"
    return ""


def _compute_in_process(
    record: RunRecord, config: Mapping[str, Any], job: str, gpus: str | None, remark: str
) -> BaseProcess:
    """Compute the run in a new process, and return the process once it has ended.

    `gpus` is passed explicitly because jobs that share a fork server, as in a worker of Ray, all inherit the
    environment of the first.
    """
    context = job_context()
    ready, go = context.Pipe(duplex=False)
    arguments = (ready, dict(config), job, record.directory, gpus, remark)
    process = context.Process(target=compute_run, args=arguments, name=job)
    try:
        with go:  # if an interrupt comes first, it is closed unused, and the process computes nothing
            process.start()
            go.send(True)
        process.join(_patience(config))
        if process.exitcode is None:  # it did not react to its own time limit
            _end(process)
            settle(record, Status.TIMEOUT, f"not done after {config['timeout']} s")
    except (KeyboardInterrupt, SystemExit):  # SystemExit: a queue pre-empts the job
        _end(process)
        settle(record, Status.INTERRUPTED, INTERRUPTED)
        raise
    return process


def _refuse(record: RunRecord, config: Mapping[str, Any], error: PortTaken) -> Status:
    """Record the error `PortTaken`, unless the run is done already."""
    with suppress(RunLocked), record.lock():
        if damage(record) or record.standing is not Status.DONE:
            open_record(record, config)
            record.finish(Status.ERROR, str(error), error.remedy)
    return record.standing or Status.ERROR


def settle(record: RunRecord, status: Status, message: str, kills: int = 0) -> None:
    """Record the status of a run whose process has died.

    Nothing changes if the run has ended by its record, or if another process holds its lock.

    Args:
        record: the run's record.
        status: how the run ended.
        message: what happened.
        kills: 1 if the run's process died by itself, and was not taken along by another; otherwise 0.
    """
    deadline = time.monotonic() + PATIENCE
    while record.standing is Status.RUNNING:
        with suppress(RunLocked), record.lock():
            if record.standing is Status.RUNNING:
                if record.summary() is None:
                    record.write_summary(summarise(record.history()))
                total = record.kills + kills
                remedy = GIVEN_UP.format(total) if total > MOST_RESUMPTIONS else REMEDIES.get(status, "")
                record.finish(status, message, remedy, total)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def wants_running(stored: Status, kills: int, rerun: str) -> bool:
    """Whether a stored run is computed again.

    Args:
        stored: its status.
        kills: how often its process was killed.
        rerun: the config's "none", "failed" or "all".
    """
    if stored is Status.DONE:
        return rerun == "all"
    # A run with status "running" is being computed, or its process has died: taking its lock shows which.
    resumes = stored in (Status.RUNNING, Status.INTERRUPTED)
    resumes |= stored is Status.KILLED and kills <= MOST_RESUMPTIONS
    return resumes or rerun in ("failed", "all")


def _patience(config: Mapping[str, Any]) -> float | None:
    """Seconds after which the process must have ended by its time limit; None: no (valid) limit."""
    limit = config.get("timeout")
    return START + limit + GRACE if isinstance(limit, int | float) and limit > 0 else None


def _end(process: BaseProcess) -> None:
    """End a process by SIGINT, SIGTERM and SIGKILL in turn, waiting `GRACE` seconds after each."""
    if process.pid is None:
        return
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(process.pid, ending)
        process.join(GRACE)
        if process.exitcode is not None:
            return


def _cause(exitcode: int | None) -> str:
    if exitcode == UNWRITABLE:
        return "the record could not be written"
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"the process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"the process ended with exit code {exitcode}"
