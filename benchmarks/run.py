"""The entry of every benchmark: `python benchmarks/run.py -m activation=tanh,softplus,relu`.

Hydra composes a config a job; each job's body runs in a process of its own and leaves a record in
`results/`. This process shows their progress, then the table and the picture, all from the records.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ntkode.report import SweepMonitor, report_console, report_sweep
from ntkode.results import NoResults, RunRecord, Status, SweepIndex, job_name, sweep_name
from ntkode.studies import run_job

CONF = Path(__file__).resolve().parent.parent / "conf"
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


def main() -> int:
    """Run what the command line asks for; the exit code is 0 where every job is done."""
    register_resolvers()
    arguments = sys.argv[1:]
    if any(argument.split("=")[0] in INFORMATIVE for argument in arguments):
        compose_and_run()
        return 0
    complaint = misused_group(arguments)
    if complaint:
        print(complaint, file=sys.stderr)
        return 2
    overrides = [argument for argument in arguments if not argument.startswith("-")]
    results_dir = given("results_dir", overrides) or OmegaConf.load(CONF / "config.yaml").results_dir
    sweep = given("sweep", overrides)
    if sweep is None:
        sweep = sweep_name(overrides)
        sys.argv.append(f"sweep={sweep}")
    index = SweepIndex(results_dir, sweep)
    since = index.size()
    console = report_console()
    try:
        with SweepMonitor(results_dir, console) as monitor:
            monitor.watch(sweep)
            compose_and_run()
    finally:
        jobs = index.runs(since)
        if jobs:
            show(results_dir, sweep, console)
    statuses = [RunRecord.open(results_dir, run_id).status for run_id in jobs.values()]
    done = [status is not None and status["status"] == Status.DONE for status in statuses]
    return 0 if jobs and all(done) else 1


def show(results_dir: str, sweep: str, console: Console) -> None:
    """The sweep's table and picture; a sweep of which nothing can be read is said to be so."""
    try:
        report_sweep(results_dir, sweep, console)
    except NoResults as nothing:
        console.print(str(nothing), style="red")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def compose_and_run(config: DictConfig) -> str:
    """Hydra's task: one composed config, one job."""
    plain = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    about = HydraConfig.get()
    groups = about.runtime.choices.items()
    plain["choices"] = {g: c for g, c in groups if not g.startswith("hydra/") and c is not None}
    return run_job(plain, job_name(about.overrides.task))


def given(key: str, overrides: Sequence[str]) -> str | None:
    """The value of the last `key=value` on the command line."""
    values = [o.partition("=")[2] for o in overrides if o.partition("=")[0] == key]
    return values[-1] if values else None


def misused_group(arguments: Sequence[str]) -> str | None:
    """What is wrong with an override that Hydra would refuse in terms of its own, or silently misread."""
    for argument in arguments:
        group, _, value = argument.partition("=")
        if not group.isidentifier() or not (CONF / group).is_dir():
            continue
        choices = value.split(",")
        if group == "experiment" and len(choices) > 1:
            one = f"experiment={choices[0]}"
            return f"{argument}: each experiment has a grid of its own, so run one at a time: {one}"
        if all(choice.strip().isdigit() for choice in choices):
            known = ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
            hint = f"; for any other number write model.width={value}" if group == "width" else ""
            example = "width=w256" if group == "width" else f"{group}=NAME"
            return f"{argument}: the choices of this group are names, as in {example} (one of {known}){hint}"
    return None


def register_resolvers() -> None:
    """Make known the resolvers that conf/ uses."""
    OmegaConf.register_new_resolver("ntkode_workers", workers, replace=True)
    OmegaConf.register_new_resolver("ntkode_choices", choices_help, replace=True)


def workers(threads: int) -> int:
    """Jobs at a time: the cores that this process may use, by the threads of a job."""
    return max(1, len(os.sched_getaffinity(0)) // threads)


def choices_help() -> str:
    """The groups of conf/ and a line on each choice: the first comment of its file."""
    defaults = {
        group: choice
        for entry in OmegaConf.load(CONF / "config.yaml").defaults
        if isinstance(entry, DictConfig)
        for group, choice in entry.items()
    }
    lines: list[str] = []
    for group in (name for name in defaults if (CONF / str(name)).is_dir()):
        lines += ["", str(group)]
        for path in sorted((CONF / str(group)).glob("*.yaml"), key=lambda p: (len(p.stem), p.stem)):
            mark = "*" if path.stem == defaults[group] else " "
            lines.append(f"  {mark} {path.stem:<20} {description(path)}")
    return "\n".join(lines)


def description(path: Path) -> str:
    """The first comment of a config file that is no directive to Hydra."""
    comments = (line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@")), "")


if __name__ == "__main__":
    sys.exit(main())
