"""`benchmarks/run.py`: a run or a sweep, `python benchmarks/run.py -m activation=tanh,softplus,relu`.

Hydra composes one config per job; each job runs in a separate process and stores a record in `results/`.
This process prints progress, then the table and the picture, all read from the records.
"""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
import yaml
from omegaconf import OmegaConf
from rich.console import Console

from ntkode.cli import run
from ntkode.cli.choices import CONF
from ntkode.cli.omissions import printed_omissions
from ntkode.cli.overrides import given, is_override, missing_extra, misused, single_run_sweep, unknown
from ntkode.cli.refusal import one_message
from ntkode.cli.resolvers import register_resolvers
from ntkode.execution import settle, wants_running
from ntkode.execution.monitor import SweepMonitor
from ntkode.execution.stale import stale_runs
from ntkode.files import prepare_folder, remove_link, write_atomically
from ntkode.orphans import kill_with_parent_in_environment
from ntkode.report import report_console, report_sweep
from ntkode.results import (
    NoResults,
    RecordUnreadable,
    RunRecord,
    Status,
    SweepIndex,
    sweep_name,
    utc_now,
)
from ntkode.results.secrets import masked

INTERRUPTED = 128 + signal.SIGINT  # the exit code that shells expect
SEARCHED = "optimization_results.yaml"  # best parameters of an adaptive search, in the sweep's folder
COMPOSED = "multirun.yaml"  # written by Hydra
# Hydra's flags that print something instead of running.
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


@one_message("run", "set results_dir=… or sweep=… to another name")
def main() -> int:
    """Run the command line; the exit code is 0 if every job is done."""
    kill_with_parent_in_environment()  # benchmarks/paper.py sets it
    register_resolvers()
    arguments = sys.argv[1:]
    informative = any(argument.split("=")[0] in INFORMATIVE for argument in arguments)
    message = unknown(arguments) or misused(arguments) or missing_extra(arguments)
    if not informative:
        message = message or single_run_sweep(arguments)
    if message:
        print(message, file=sys.stderr)
        return 2
    if informative:
        compose_and_run()
        return 0
    overrides = [argument for argument in arguments if is_override(argument)]
    results_dir = given("results_dir", overrides) or OmegaConf.load(CONF / "config.yaml").results_dir
    sweep = given("sweep", overrides)
    if sweep is None:
        sweep = sweep_name(overrides)
        overrides.append(f"sweep={sweep}")
    # Hydra accepts overrides on one side of its flags only.
    sys.argv[1:] = [*(argument for argument in arguments if not is_override(argument)), *overrides]
    try:
        index = SweepIndex(results_dir, sweep)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        prepare_folder(Path(results_dir))
        index.runs()
        for problem in index.repair():
            print(f"{problem}: removed; the command that made it adds its job again", file=sys.stderr)
    except RecordUnreadable as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"results_dir={results_dir} cannot be written to ({error}): set another", file=sys.stderr)
        return 2
    return run_sweep(results_dir, sweep, index, rerun_all=given("rerun", overrides) == "all")


def run_sweep(results_dir: str, sweep: str, index: SweepIndex, rerun_all: bool) -> int:
    """Run all jobs with a progress display, then print a summary of the records; the exit code.

    Args:
        results_dir: the results folder.
        sweep: the sweep's name.
        index: its index.
        rerun_all: whether every job is to be recomputed.
    """
    since, began, console = index.size(), utc_now(), report_console()
    (index.directory / SEARCHED).unlink(missing_ok=True)
    remove_link(index.directory / COMPOSED)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends a sweep like Ctrl-C
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
        mask_secrets(index.directory / COMPOSED)
        jobs = index.runs(since)
        complete = show(results_dir, sweep, console) if jobs else False
        show_best(index, console)
    records = [RunRecord.open(results_dir, run_id) for run_id in jobs.values()]
    statuses = [stored_status(record) for record in records]
    failed = [status for status in statuses if status.get("status") != Status.DONE]
    kept = sum(was_refused(record, began) for record in records)
    if kept:
        console.print(f"{kept} of these failed earlier and were not run again: rerun=failed runs them")
    earlier = [status for status in statuses if (status.get("finished") or began) < began]
    older = earlier if rerun_all and not interrupted else []  # an interrupt is reason enough
    if older:
        console.print(
            f"{len(older)} of these could not be recomputed; the stored results are unchanged: the reason is "
            "at the end of log.txt in the run's folder",
            style="red",
        )
    report_stale(
        [
            record
            for record, status in zip(records, statuses, strict=True)
            if (status.get("finished") or began) < began
        ],
        console,
    )
    if interrupted:
        console.print("interrupted: the same command runs the rest")
        return INTERRUPTED
    return 0 if complete and not failed and not older else 1


def stored_status(record: RunRecord) -> dict[str, Any]:
    """The content of the run's `status.json`; empty if it is missing or corrupt."""
    with suppress(OSError, RecordUnreadable):
        return record.status or {}
    return {}


def report_stale(stored: Sequence[RunRecord], console: Console) -> None:
    """Print how many stored runs were computed with other code or data than the present ones."""
    with console.status("comparing stored runs with the present code and data"):
        stale = stale_runs(stored)
    if stale.by_ntkode:
        console.print(
            f"{len(stale.by_ntkode)} of these were computed by an earlier version of ntkode's sources: "
            "rerun=all recomputes them"
        )
    if stale.by_user:
        console.print(
            f"{len(stale.by_user)} of these used other code or data ({', '.join(sorted(stale.changed))}): "
            "rerun=all recomputes them"
        )


def was_refused(record: RunRecord, began: str) -> bool:
    """Whether a run failed before `began` in a way that the same command does not run again."""
    status = stored_status(record)
    if (status.get("finished") or began) >= began or status["status"] == Status.DONE:
        return False
    return not wants_running(Status(status["status"]), record.kills, rerun="none")


def mask_secrets(path: Path) -> None:
    """Mask the secrets in the config that Hydra has stored, overrides included."""
    with suppress(OSError):  # nothing was composed
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
        if masked(stored) != stored:
            write_atomically(path, yaml.safe_dump(masked(stored), sort_keys=False, allow_unicode=True))


def settle_all(results_dir: str, run_ids: Iterable[str], interrupted: bool) -> None:
    """Record the status of runs whose worker, and with it their process, has died."""
    status, message = Status.KILLED, "the worker that ran it is gone"
    if interrupted:
        status, message = Status.INTERRUPTED, "by the user"
    for name in run_ids:
        with suppress(OSError, RecordUnreadable):  # the job has reported it
            settle(RunRecord.open(results_dir, name), status, message)


def show(results_dir: str, sweep: str, console: Console) -> bool:
    """Print the sweep's table and draw its picture, or an error; whether they contain all runs."""
    try:
        with printed_omissions(console) as omissions:
            report_sweep(results_dir, sweep, console)
        return not omissions
    except NoResults as error:
        console.print(str(error), style="red")
    except OSError as error:
        console.print(f"the sweep's table and picture cannot be written: {error}", style="red")
    return False


def show_best(index: SweepIndex, console: Console) -> None:
    """Print the best parameters if the sweep was an adaptive search."""
    path = index.directory / SEARCHED
    if path.exists():
        best = OmegaConf.load(path)
        parameters = " ".join(f"{key}={value}" for key, value in best.best_params.items())
        if math.isfinite(best.best_value):
            console.print(f"best of the search: {best.best_value:.4g} at {parameters}")
        else:
            console.print("the search has no result: no job has a finite objective", style="red")
