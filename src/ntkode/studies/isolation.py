"""Run one cell in a process of its own, so that nothing that happens to it reaches the other jobs.

A fork server with the heavy imports loaded makes such a process in milliseconds. The record says how the
cell ended, whatever happened.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ntkode.results import RunLocked, RunRecord, Status, SweepIndex, run_id

# Seconds that an interrupted cell has to write its end.
GRACE = 15.0


def run_job(config: Mapping[str, Any], job: str) -> Status:
    """Compute the cell of a resolved config, unless it is stored already, and say how it ended.

    Args:
        config: the resolved config as plain values, with `choices` (group → chosen name), `results_dir`,
            `sweep` and `rerun` ("none", "failed" or "all").
        job: the overrides that make this job, as its readable name.

    Returns:
        The run's status. Failures are statuses: nothing is raised but KeyboardInterrupt.
    """
    record = RunRecord.open(config["results_dir"], run_id(config))
    SweepIndex(config["results_dir"], config["sweep"]).add(record.run_id, job)
    stored = record.status
    if stored is not None and not _wants_running(Status(stored["status"]), config["rerun"]):
        return Status(stored["status"])
    process = _context().Process(target=_cell, args=(dict(config), job, record.directory), name=job)
    process.start()
    try:
        process.join()
    except KeyboardInterrupt:
        _end(process)
        _settle(record, config, Status.INTERRUPTED, "interrupted by the user")
        raise
    _settle(record, config, Status.KILLED, _cause(process.exitcode))
    return Status((record.status or {"status": Status.KILLED})["status"])


def _wants_running(stored: Status, rerun: str) -> bool:
    if stored is Status.DONE:
        return rerun == "all"
    # A record that says "running" belongs to a process that is gone, or holds the lock: trying shows which.
    failed = stored not in (Status.RUNNING, Status.INTERRUPTED)
    return not failed or rerun in ("failed", "all")


def _context() -> Any:
    # A joblib worker's default context is loky's, whose name the fork server does not know.
    multiprocessing.set_start_method("forkserver", force=True)
    multiprocessing.set_forkserver_preload(["ntkode.studies.training"])
    return multiprocessing.get_context("forkserver")


def _end(process: BaseProcess) -> None:
    """Wait for a cell that got the interrupt too; insist where it does not end."""
    for insist in (lambda: None, process.terminate, process.kill):
        insist()
        process.join(GRACE)
        if process.exitcode is not None:
            return


def _settle(record: RunRecord, config: Mapping[str, Any], status: Status, message: str) -> None:
    """Write the end of a run whose process could not."""
    if record.status is None:
        record.begin(config)
    if (record.status or {})["status"] == Status.RUNNING:
        record.finish(status, message, remedy="see log.txt in the run's folder")


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"the process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"the process ended with exit code {exitcode}"


def _cell(config: dict[str, Any], job: str, directory: Path) -> None:
    """The body of the cell's process."""
    record = RunRecord(directory)
    try:
        with record.lock():
            record.begin(config)
            _redirect_output(record.log_path)
            _compute(config, job, record)
    except RunLocked as error:
        print(error, file=sys.stderr)
        os._exit(0)  # the record belongs to another process, which settles it


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

    from ntkode.studies.base import build

    torch.set_num_threads(config["threads"])
    tracker = None
    failure: BaseException | None = None
    try:
        with threadpool_limits(config["threads"]):
            tracker = build(config["logger"])(record, config, job)
            build(config["study"]).run(config, record, tracker)
    except BaseException as error:
        failure = error
        traceback.print_exc()
    if tracker is not None:
        tracker.close(failed=failure is not None)
    if failure is None:
        record.finish(Status.DONE)
    else:
        record.finish(_status_of(failure), _message(failure), getattr(failure, "remedy", ""))


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


def _message(failure: BaseException) -> str:
    return (
        str(failure)
        if isinstance(failure, ValueError | RuntimeError)
        else f"{type(failure).__name__}: {failure}"
    )
