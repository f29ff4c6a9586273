"""Run the paper's experiments in turn and print all their verdicts.

    python benchmarks/paper.py [only=NAME,NAME] [KEY=VALUE ...]

Each is `python benchmarks/run.py experiment=paper/NAME KEY=VALUE ...`. The same command again resumes: runs
that are done are kept. The exit code is 0 if every experiment has its verdicts, supported or not. Runs that
diverge, or whose ODE cannot be solved, count as results.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from math import prod

import pandas as pd
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from rich.console import Console
from rich.markup import escape

from ntkode.cli.choices import CONF, ROOT
from ntkode.cli.overrides import given, nearest
from ntkode.cli.pairs import parse_pairs
from ntkode.cli.refusal import one_message
from ntkode.cli.resolvers import register_resolvers, workers
from ntkode.cli.sweep import INTERRUPTED
from ntkode.execution import wants_running
from ntkode.orphans import PARENT
from ntkode.report import report_console
from ntkode.report.claims.claims import Verdict
from ntkode.report.claims.verdicts import STYLES, numbers
from ntkode.report.statistics.intervals import Estimate
from ntkode.report.tables.terminal import terminal_table
from ntkode.results import RunRecord, Status, SweepIndex, sweep_name

RUN = ROOT / "benchmarks" / "run.py"
KEYS = {"only": "experiments to run, in this order (default: all)"}
EXPERIMENTS = tuple(sorted(path.stem for path in (CONF / "experiment" / "paper").glob("*.yaml")))
# Measured seconds of a job at default size on one core: the estimate until jobs have ended on this machine.
JOB_SECONDS = {
    "activation": 10.0,
    "activation_gradient": 9.0,
    "activation_polynomial": 3.0,
    "datasets": 12.0,
    "depth_gradient": 3.0,
    "depth_output": 3.0,
    "gaussianity": 2.0,
    "horizon": 8.0,
    "kernel_positivity": 1.5,
    "training_width": 16.0,
    "width_nngp": 1.2,
    "width_ntk": 1.2,
}
OTHER_JOB_SECONDS = 8.0
# Statuses that are results. A run with another status leaves the experiment incomplete.
RESULTS = (Status.DONE, Status.DIVERGED, Status.SOLVER_FAILED)


@dataclass(frozen=True)
class Experiment:
    """An experiment of `conf/experiment/paper` with the user's overrides.

    Attributes:
        name: stem of its file.
        overrides: overrides from the command line.
    """

    name: str
    overrides: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """The arguments passed to benchmarks/run.py."""
        return [f"experiment=paper/{self.name}", *self.overrides]

    @cached_property
    def jobs(self) -> int:
        """Number of jobs: the product of the lengths of the grid's axes.

        Raises:
            HydraException: the overrides do not compose.
        """
        with initialize_config_dir(str(CONF), version_base="1.3"):
            fixed = [o for o in self.arguments if not _choices(o)]
            grid = compose("config", overrides=fixed, return_hydra_config=True).hydra.sweeper.params or {}
        axes = [f"{key}={value}" for key, value in grid.items()] + list(self.overrides)
        return prod({o.partition("=")[0]: len(_choices(o)) or 1 for o in axes}.values())

    @cached_property
    def index(self) -> SweepIndex:
        """The index of its sweep, under the name that benchmarks/run.py uses."""
        results_dir = given("results_dir", self.overrides) or OmegaConf.load(CONF / "config.yaml").results_dir
        return SweepIndex(results_dir, sweep_name(self.arguments))

    def records(self) -> list[RunRecord]:
        """The records of the jobs that have begun."""
        results_dir = self.index.directory.parent.parent
        return [RunRecord.open(results_dir, run_id) for run_id in self.index.runs().values()]

    def seconds(self) -> list[float]:
        """Wall-clock seconds of each run that has ended."""
        statuses = (record.status or {} for record in self.records())
        return [
            _between(status["started"], status["finished"])
            for status in statuses
            if status.get("started") and status.get("finished")
        ]

    @property
    def guess(self) -> float:
        """Estimated seconds of a job, used until jobs have ended."""
        return JOB_SECONDS.get(self.name, OTHER_JOB_SECONDS)

    def trouble(self) -> str:
        """Why the experiment has no verdicts yet; empty if it has them."""
        counts = pd.Series([str(r.standing) for r in self.records()], dtype=str).value_counts()
        bad = [f"{number} {status}" for status, number in counts.items() if status not in RESULTS]
        if not counts.sum():
            return "no run"
        return ", ".join(bad) or ("" if self.verdicts() else "no verdicts")

    def remedy(self) -> str:
        """What computes the missing runs."""
        stopped = [r for r in self.records() if (standing := r.standing) and standing not in RESULTS]
        if all(wants_running(Status(str(r.standing)), r.kills, "none") for r in stopped):
            return "the same command runs the rest"
        return "rerun=failed runs the failed jobs again"

    def verdicts(self) -> list[pd.DataFrame]:
        """The verdict tables that its report stored."""
        return [pd.read_csv(path) for path in sorted(self.index.directory.glob("*_verdicts.csv"))]


@one_message("paper", "give another folder, as in results_dir=FOLDER", ValueError, HydraException)
def main(arguments: list[str]) -> int:
    """Run the experiments that `arguments` name; the exit code."""
    register_resolvers()
    settings, _ = parse_pairs(__doc__ or "", KEYS, arguments, others="an override of every experiment")
    only = settings.pop("only", ",".join(EXPERIMENTS)).split(",")
    for name in only:
        if name not in EXPERIMENTS:
            known = ", ".join(EXPERIMENTS)
            sys.exit(f"only={name}: no such experiment{nearest(name, EXPERIMENTS)}; available: {known}")
    for key in ("experiment", "sweep"):
        if key in settings:
            sys.exit(f"{key}={settings[key]}: set by paper.py; select experiments by only=NAME,NAME")
    overrides = tuple(f"{key}={value}" for key, value in settings.items())
    experiments = [Experiment(name, overrides) for name in only]
    console = report_console()
    try:
        run_all(experiments, console)
    except KeyboardInterrupt:
        show_verdicts(experiments, console)
        console.print("interrupted: the same command runs the rest")
        return INTERRUPTED
    show_verdicts(experiments, console)
    return 1 if show_troubles(experiments, console) else 0


def run_all(experiments: Sequence[Experiment], console: Console) -> None:
    """Run the experiments in turn, each in a separate process; print the estimated time before each."""
    for number, experiment in enumerate(experiments):
        after = experiments[number + 1 :]
        progress = (
            f"{number + 1} of {len(experiments)}: {experiment.jobs} jobs, {left([experiment], experiments)}"
        )
        total = f"; in all {left([experiment, *after], experiments)}" if after else ""
        console.rule(f"paper/{experiment.name}, {progress}{total}", characters="─")
        run_one(experiment)


def run_one(experiment: Experiment) -> None:
    """Run one experiment; the outcome is in its records.

    Raises:
        KeyboardInterrupt: the user interrupted, and the sweep has ended cleanly.
    """
    environment = {**os.environ, PARENT: str(os.getpid())}
    process = subprocess.Popen([sys.executable, str(RUN), *experiment.arguments], env=environment)
    try:
        process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if process.returncode == INTERRUPTED:
        raise KeyboardInterrupt


def left(remaining: Sequence[Experiment], experiments: Sequence[Experiment]) -> str:
    """Estimated time for the jobs of `remaining`, scaled by the pace of the ended jobs of `experiments`."""
    expected = sum(e.guess * len(e.seconds()) for e in experiments)
    pace = sum(sum(e.seconds()) for e in experiments) / expected if expected else 1.0
    waiting = sum(e.guess * max(0, e.jobs - len(e.seconds())) for e in remaining)
    minutes = pace * waiting / workers(1) / 60
    if waiting == 0:
        return "nothing left to compute"
    return "about a minute left" if minutes < 1.5 else f"about {minutes:.0f} minutes left"


def show_verdicts(experiments: Sequence[Experiment], console: Console) -> None:
    """Print the verdicts of all experiments that have some, in one table."""
    stored = [verdicts for experiment in experiments for verdicts in experiment.verdicts()]
    if not stored:
        return
    verdicts = pd.concat(stored, ignore_index=True)
    table = terminal_table(title="the verdicts of all studies")
    for header in ("study", "claim", "measured (95 % interval)", "expected", "verdict"):
        table.add_column(header, overflow="fold", no_wrap=header in ("study", "verdict"))
    for _, row in verdicts.iterrows():
        verdict = Verdict(row["verdict"])
        estimate = Estimate(row["estimate"], row["low"], row["high"], row["replicates"])
        values = (row["study"], row["statement"], numbers(estimate), row["expected"])
        table.add_row(*map(escape, values), f"[{STYLES[verdict]}]{verdict}[/]")
    console.print(table)
    counts = verdicts["verdict"].value_counts()
    console.print(
        ", ".join(f"{counts.get(str(verdict), 0)} {verdict}" for verdict in Verdict), highlight=False
    )


def show_troubles(experiments: Sequence[Experiment], console: Console) -> bool:
    """Print why experiments lack verdicts; returns whether any does."""
    troubles = {experiment: trouble for experiment in experiments if (trouble := experiment.trouble())}
    for experiment, trouble in troubles.items():
        console.print(f"paper/{experiment.name}: {trouble}; {experiment.remedy()}", style="red")
    return bool(troubles)


def _choices(override: str) -> list[str]:
    """The values of a sweep axis; empty if the override is not an axis."""
    parsed = OverridesParser.create().parse_override(override)
    return list(parsed.sweep_string_iterator()) if parsed.is_sweep_override() else []


def _between(started: str, finished: str) -> float:
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
