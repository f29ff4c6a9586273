"""Run the paper's experiments one after the other, and end with all their verdicts.

    python benchmarks/paper.py [only=NAME,NAME] [KEY=VALUE ...]

Each is `python benchmarks/run.py experiment=paper/NAME KEY=VALUE ...`. The same command again goes on where
it stopped: runs that are done are kept. The exit code is 0 where every experiment came to its verdicts,
whichever way they went; runs that diverge, or whose ODE cannot be solved, are results.
"""

from __future__ import annotations

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
from ntkode.cli.resolvers import register_resolvers, workers
from ntkode.cli.sweep import INTERRUPTED
from ntkode.report import report_console
from ntkode.report.claims.claims import Verdict
from ntkode.report.claims.verdicts import STYLES, numbers
from ntkode.report.statistics.intervals import Estimate
from ntkode.report.tables.terminal import terminal_table
from ntkode.results import RunRecord, Status, SweepIndex, sweep_name

RUN = ROOT / "benchmarks" / "run.py"
KEYS = {"only": "which experiments, in this order; all by default"}
EXPERIMENTS = tuple(sorted(path.stem for path in (CONF / "experiment" / "paper").glob("*.yaml")))
# Seconds of a job at default size on one core, measured: a first guess, until this machine's own are known.
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
# Ends that say something of the model. With any other, the experiment is not what it was meant to be.
RESULTS = (Status.DONE, Status.DIVERGED, Status.SOLVER_FAILED)


@dataclass(frozen=True)
class Experiment:
    """One of `conf/experiment/paper`, with what is added to it.

    Attributes:
        name: its file's.
        overrides: what the command line adds.
    """

    name: str
    overrides: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """Of benchmarks/run.py."""
        return [f"experiment=paper/{self.name}", *self.overrides]

    @cached_property
    def jobs(self) -> int:
        """How many there are: the product of what the axes of the grid list.

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
        """Of its sweep, which has the name that benchmarks/run.py gives it."""
        results_dir = given("results_dir", self.overrides) or OmegaConf.load(CONF / "config.yaml").results_dir
        return SweepIndex(results_dir, sweep_name(self.arguments))

    def records(self) -> list[RunRecord]:
        """Of the jobs that have begun."""
        results_dir = self.index.directory.parent.parent
        return [RunRecord.open(results_dir, run_id) for run_id in self.index.runs().values()]

    def seconds(self) -> list[float]:
        """Of each run that has ended."""
        told = (record.status or {} for record in self.records())
        return [_between(t["started"], t["finished"]) for t in told if t.get("started") and t.get("finished")]

    @property
    def guess(self) -> float:
        """Seconds of a job, before any is known."""
        return JOB_SECONDS.get(self.name, OTHER_JOB_SECONDS)

    def trouble(self) -> str:
        """Why it has not come to its verdicts; empty where it has."""
        counts = pd.Series([str(r.standing) for r in self.records()], dtype=str).value_counts()
        bad = [f"{number} {status}" for status, number in counts.items() if status not in RESULTS]
        if not counts.sum():
            return "no run"
        return ", ".join(bad) or ("" if self.verdicts() else "no verdicts")

    def verdicts(self) -> list[pd.DataFrame]:
        """The tables that its report has left."""
        return [pd.read_csv(path) for path in sorted(self.index.directory.glob("*_verdicts.csv"))]


def main(arguments: list[str]) -> int:
    """Run the experiments that `arguments` name; the exit code."""
    register_resolvers()
    settings, _ = parse_pairs(__doc__ or "", KEYS, arguments, others="an override of every experiment")
    only = settings.pop("only", ",".join(EXPERIMENTS)).split(",")
    for name in only:
        if name not in EXPERIMENTS:
            known = ", ".join(EXPERIMENTS)
            sys.exit(f"only={name}: no such experiment{nearest(name, EXPERIMENTS)}; there are {known}")
    for key in ("experiment", "sweep"):
        if key in settings:
            sys.exit(f"{key}={settings[key]}: each experiment has its own; only=NAME,NAME chooses among them")
    overrides = tuple(f"{key}={value}" for key, value in settings.items())
    experiments = [Experiment(name, overrides) for name in only]
    console = report_console()
    try:
        run_all(experiments, console)
    except HydraException as error:
        sys.exit(f"paper: {error}")
    except KeyboardInterrupt:
        show_verdicts(experiments, console)
        console.print("interrupted: the same command goes on with what is not done")
        return INTERRUPTED
    show_verdicts(experiments, console)
    return 1 if show_troubles(experiments, console) else 0


def run_all(experiments: Sequence[Experiment], console: Console) -> None:
    """One after the other, each in a process of its own, with the time that is left before each."""
    for number, experiment in enumerate(experiments):
        after = experiments[number + 1 :]
        told = (
            f"{number + 1} of {len(experiments)}: {experiment.jobs} jobs, {left([experiment], experiments)}"
        )
        together = f"; with those after it {left([experiment, *after], experiments)}" if after else ""
        console.rule(f"paper/{experiment.name}, {told}{together}", characters="─")
        run_one(experiment)


def run_one(experiment: Experiment) -> None:
    """Run it to its end; what became of it, its records say.

    Raises:
        KeyboardInterrupt: the user has interrupted; the sweep, which was told so too, has ended in order.
    """
    process = subprocess.Popen([sys.executable, str(RUN), *experiment.arguments])
    try:
        process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if process.returncode == INTERRUPTED:
        raise KeyboardInterrupt


def left(those: Sequence[Experiment], all_of_them: Sequence[Experiment]) -> str:
    """How long `those` will take from now on: their jobs, at the pace of all jobs that have ended."""
    expected = sum(e.guess * len(e.seconds()) for e in all_of_them)
    pace = sum(sum(e.seconds()) for e in all_of_them) / expected if expected else 1.0
    waiting = sum(e.guess * max(0, e.jobs - len(e.seconds())) for e in those)
    minutes = pace * waiting / workers(1) / 60
    if waiting == 0:
        return "nothing left to compute"
    return "about a minute left" if minutes < 1.5 else f"about {minutes:.0f} minutes left"


def show_verdicts(experiments: Sequence[Experiment], console: Console) -> None:
    """The verdicts of all experiments that have come to some, in one table."""
    tables = [table for experiment in experiments for table in experiment.verdicts()]
    if not tables:
        return
    verdicts = pd.concat(tables, ignore_index=True)
    shown = terminal_table(title="the verdicts of all studies")
    for header in ("study", "claim", "measured (95 % interval)", "expected", "verdict"):
        shown.add_column(header, overflow="fold", no_wrap=header in ("study", "verdict"))
    for _, row in verdicts.iterrows():
        verdict = Verdict(row["verdict"])
        estimate = Estimate(row["estimate"], row["low"], row["high"], row["replicates"])
        told = (row["study"], row["statement"], numbers(estimate), row["expected"])
        shown.add_row(*map(escape, told), f"[{STYLES[verdict]}]{verdict}[/]")
    console.print(shown)
    counts = verdicts["verdict"].value_counts()
    console.print(
        ", ".join(f"{counts.get(str(verdict), 0)} {verdict}" for verdict in Verdict), highlight=False
    )


def show_troubles(experiments: Sequence[Experiment], console: Console) -> bool:
    """What keeps experiments from their verdicts; whether there is anything."""
    troubles = {experiment.name: trouble for experiment in experiments if (trouble := experiment.trouble())}
    for name, trouble in troubles.items():
        console.print(f"paper/{name}: {trouble}; rerun=failed runs what failed again", style="red")
    return bool(troubles)


def _choices(override: str) -> list[str]:
    """What an axis lists; nothing where the override is none."""
    parsed = OverridesParser.create().parse_override(override)
    return list(parsed.sweep_string_iterator()) if parsed.is_sweep_override() else []


def _between(started: str, finished: str) -> float:
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
