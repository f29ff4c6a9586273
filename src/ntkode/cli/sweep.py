"""`benchmarks/run.py`: a run or a sweep, `python benchmarks/run.py -m activation=tanh,softplus,relu`.

Hydra composes one config per job; each job runs in a process of its own and leaves a record in `results/`.
This process shows their progress, then the table and the picture, all from the records.
"""

from __future__ import annotations

import math
import signal
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import hydra
from omegaconf import OmegaConf
from rich.console import Console

from ntkode.cli import run
from ntkode.cli.choices import CONF
from ntkode.cli.overrides import given, is_override, missing_extra, misused, unknown
from ntkode.cli.resolvers import register_resolvers
from ntkode.execution import settle
from ntkode.execution.monitor import SweepMonitor
from ntkode.report import report_console, report_sweep
from ntkode.results import (
    SOURCES_SHA256,
    NoResults,
    RecordUnreadable,
    RunRecord,
    Status,
    SweepIndex,
    sweep_name,
    utc_now,
)

INTERRUPTED = 128 + signal.SIGINT  # the exit code that shells expect
SEARCHED = "optimization_results.yaml"  # where an adaptive search leaves its best, in the sweep's folder
# Hydra's flags that show something instead of running.
INFORMATIVE = (
    "-h",
    "--help",
    "--hydra-help",
    "--version",
    "-c",
    "--cfg",
    "-i",
    "--info",
    "--shell-completion",
)
compose_and_run = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(run.run_config)


def main() -> int:
    """Run what the command line asks for; the exit code is 0 where every job is done."""
    register_resolvers()
    arguments = sys.argv[1:]
    complaint = unknown(arguments) or misused(arguments) or missing_extra(arguments)
    if complaint:
        print(complaint, file=sys.stderr)
        return 2
    if any(argument.split("=")[0] in INFORMATIVE for argument in arguments):
        compose_and_run()
        return 0
    overrides = [argument for argument in arguments if is_override(argument)]
    results_dir = given("results_dir", overrides) or OmegaConf.load(CONF / "config.yaml").results_dir
    sweep = given("sweep", overrides)
    if sweep is None:
        sweep = sweep_name(overrides)
        overrides.append(f"sweep={sweep}")
    # Hydra takes the overrides on one side of its flags only.
    sys.argv[1:] = [*(argument for argument in arguments if not is_override(argument)), *overrides]
    try:
        index = SweepIndex(results_dir, sweep)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        Path(results_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results_dir) as probe:
            probe.write(b"?")
    except OSError as error:
        print(f"results_dir={results_dir} cannot be written to ({error}): name another", file=sys.stderr)
        return 2
    return run_sweep(results_dir, sweep, index, anew=given("rerun", overrides) == "all")


def run_sweep(results_dir: str, sweep: str, index: SweepIndex, anew: bool) -> int:
    """Run all jobs under a progress display, then show what the records say; the exit code.

    Args:
        results_dir: the results folder.
        sweep: the sweep's name.
        index: its index.
        anew: whether every job was to be computed from the start.
    """
    since, began, console = index.size(), utc_now(), report_console()
    (index.directory / SEARCHED).unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill ends a sweep as Ctrl-C does
    interrupted = False
    try:
        with SweepMonitor(results_dir, console) as monitor:
            monitor.watch(sweep)
            try:
                compose_and_run()
            except KeyboardInterrupt:
                interrupted = True
            finally:
                settle_all(results_dir, index.runs(since).values(), interrupted)
    finally:
        jobs = index.runs(since)
        if jobs:
            show(results_dir, sweep, console)
        show_best(index, console)
    statuses = [RunRecord.open(results_dir, run_id).status or {} for run_id in jobs.values()]
    failed = [status for status in statuses if status.get("status") != Status.DONE]
    kept = sum((status.get("finished") or began) < began for status in failed)
    if kept:
        console.print(f"{kept} of these failed earlier and did not run again: rerun=failed runs them")
    older = [status for status in statuses if anew and (status.get("finished") or began) < began]
    if older:
        console.print(
            f"{len(older)} of these could not be computed anew, and are as they were: log.txt in a run's "
            "folder ends with the reason",
            style="red",
        )
    stale = [run_id for run_id in jobs.values() if computed_by_other_code(results_dir, run_id, began)]
    if stale:
        console.print(
            f"{len(stale)} of these were stored by other code than the present (ntkode's sources have "
            "changed since): rerun=all computes them anew"
        )
    if interrupted:
        console.print("interrupted: the same command goes on with what is not done")
        return INTERRUPTED
    return 0 if jobs and not failed and not older else 1


def computed_by_other_code(results_dir: str, run_id: str, began: str) -> bool:
    """Whether a run that was stored before `began` is of other code."""
    record = RunRecord.open(results_dir, run_id)
    if ((record.status or {}).get("finished") or began) >= began:
        return False
    told = record.provenance()  # missing where the run failed before it came to that
    return told is not None and told.get("sources_sha256") != SOURCES_SHA256


def settle_all(results_dir: str, run_ids: Iterable[str], interrupted: bool) -> None:
    """Write the end of runs whose worker is gone, and has taken their process along."""
    status, message = Status.KILLED, "the worker that ran it is gone"
    if interrupted:
        status, message = Status.INTERRUPTED, "by the user"
    for name in run_ids:
        with suppress(OSError, RecordUnreadable):  # the job itself has said so
            settle(RunRecord.open(results_dir, name), status, message)


def show(results_dir: str, sweep: str, console: Console) -> None:
    """The sweep's table and picture; a sweep of which nothing can be read is said to be so."""
    try:
        report_sweep(results_dir, sweep, console)
    except NoResults as nothing:
        console.print(str(nothing), style="red")
    except OSError as error:
        console.print(f"the sweep's table and picture cannot be written: {error}", style="red")


def show_best(index: SweepIndex, console: Console) -> None:
    """What an adaptive search found, where the sweep was one."""
    path = index.directory / SEARCHED
    if path.exists():
        found = OmegaConf.load(path)
        parameters = " ".join(f"{key}={value}" for key, value in found.best_params.items())
        if math.isfinite(found.best_value):
            console.print(f"best of the search: {found.best_value:.4g} at {parameters}")
        else:
            console.print("the search found nothing: no job has a finite value of its objective", style="red")
