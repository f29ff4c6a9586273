"""The entry of every benchmark: `python benchmarks/run.py -m activation=tanh,softplus,relu`.

Hydra composes a config a job; each job's body runs in a process of its own and leaves a record in
`results/`. This process shows their progress, then the table and the picture, all from the records.
"""

from __future__ import annotations

import difflib
import importlib.util
import math
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ntkode.execution import run_job, settle
from ntkode.execution.gpus import visible_gpus
from ntkode.execution.monitor import SweepMonitor
from ntkode.report import report_console, report_sweep
from ntkode.results import (
    SOURCES_SHA256,
    NoResults,
    RecordUnreadable,
    RunRecord,
    Status,
    SweepIndex,
    job_name,
    run_id,
    sweep_name,
    utc_now,
)

CONF = Path(__file__).resolve().parent.parent / "conf"
RERUN = ("none", "failed", "all")
INTERRUPTED = 128 + signal.SIGINT  # the exit code that shells expect
# Choices that need a package of an extra: choice → (the package's plugin, the extra).
EXTRAS = {
    "hydra/launcher=slurm": ("hydra_submitit_launcher", "slurm"),
    "hydra/launcher=ray_node": ("hydra_ray_launcher", "ray"),
    "hydra/sweeper=optuna_search": ("hydra_optuna_sweeper", "optuna"),
}
SEARCHED = "optimization_results.yaml"  # where an adaptive search leaves its best, in the sweep's folder
# Choices that are Hydra's own, and so have no file here.
BASIC = {
    "hydra/launcher": "one job after the other, started by this process",
    "hydra/sweeper": "the grid of all axes",
}
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


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def compose_and_run(config: DictConfig) -> float:
    """Hydra's task: one composed config, one job; returns what an adaptive search looks at."""
    plain = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    about = HydraConfig.get()
    groups = about.runtime.choices.items()
    plain["choices"] = {g: c for g, c in groups if not g.startswith("hydra/") and c is not None}
    number = OmegaConf.select(cast(DictConfig, about), "job.num") or 0  # missing in a single run
    status = run_job(plain, job_name(about.overrides.task), number)
    found = objective(plain) if status is Status.DONE else None
    return worst(cast(DictConfig, about)) if found is None else found


def worst(about: DictConfig) -> float:
    """What a job without a value counts as in a search, which could not end without any value."""
    return -math.inf if OmegaConf.select(about, "sweeper.direction") == "maximize" else math.inf


def objective(config: Mapping[str, Any]) -> float | None:
    """The stored value of the metric that the config calls its `objective`; None where it is not finite."""
    summary = RunRecord.open(config["results_dir"], run_id(config)).summary() or {}
    value = summary.get(config["objective"])
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def is_override(argument: str) -> bool:
    """Whether it is `key=value`, `+key=value` or `~key`, and no flag nor a flag's value."""
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def given(key: str, overrides: Sequence[str]) -> str | None:
    """The value of the last `key=value` on the command line, as Hydra reads it."""
    typed = [override for override in overrides if override.partition("=")[0] == key]
    if not typed:
        return None
    try:
        value = OverridesParser.create().parse_override(typed[-1]).value()
    except HydraException:  # Hydra will say so
        return None
    if not isinstance(value, str | int | float | bool):  # an axis of a sweep, or null
        return None
    return cast("str | None", OmegaConf.create({key: value})[key])


def unknown(arguments: Sequence[str]) -> str | None:
    """What is wrong with an override whose first key, or whose choice, there is not, with the nearest one."""
    if any(a.startswith(("--config-", "-cd", "-cn", "-cp", "hydra.searchpath")) for a in arguments):
        return None  # other folders may hold it
    size_keys = OmegaConf.load(CONF / "size" / "default.yaml")
    keys = {str(key) for key in [*OmegaConf.load(CONF / "config.yaml"), *size_keys]} | {"width", "hydra"}
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    for argument in filter(is_override, arguments):
        path, _, value = argument.lstrip("+~").partition("=")
        key = re.split(r"[./@]", path)[0]
        if key not in keys | groups:
            return f"{argument}: there is no key {key}{nearest(key, keys | groups)}; --help shows the groups"
        names = [*choice_files(path)] if path in groups else []
        for choice in value.split(",") if names else []:
            if re.fullmatch(r"[a-z][\w/]*", choice) and choice not in (*names, "null"):
                known = ", ".join(names)
                return f"{argument}: {path} has no choice {choice}{nearest(choice, names)}; one of {known}"
    return None


def nearest(name: str, names: Iterable[str]) -> str:
    """A question after the most similar name, if one is similar."""
    similar = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {similar[0]}?)" if similar else ""


def misused(arguments: Sequence[str]) -> str | None:
    """What is wrong with an override that Hydra would refuse in terms of its own, or silently misread."""
    axes = [argument.split("=")[0].split(".")[0] for argument in arguments]
    if given("model", arguments) == "resnet" and {"solver", "gradient"} & set(axes):
        return (
            "model=resnet is Euler with model.depth steps and has one exact gradient: leave out solver and "
            "gradient, or take model=neural_ode"
        )
    for argument in arguments:
        key, _, value = argument.partition("=")
        choices = value.split(",")
        if key == "data_root" and value != "null" and not Path(value).expanduser().is_dir():
            return f"{argument}: there is no such folder; it is to hold a folder a data set, such as mnist/"
        if key == "model.match":
            return f"{argument}: what scales are matched to is a group of its own, as in match={choices[0]}"
        if key == "rerun" and value not in RERUN:
            return f"{argument}: what to run again is one of {', '.join(RERUN)}, as in rerun=failed"
        if not key.isidentifier() or not (CONF / key).is_dir():
            continue
        if key == "experiment" and len(choices) > 1:
            one = f"experiment={choices[0]}"
            return f"{argument}: each experiment has a grid of its own, so run one at a time: {one}"
        if all(choice.strip().isdigit() for choice in choices):
            known = ", ".join(choice_files(key))
            hint = f"; for any other number write model.width={value}" if key == "width" else ""
            example = "width=w256" if key == "width" else f"{key}=NAME"
            return f"{argument}: the choices of this group are names, as in {example} (one of {known}){hint}"
    return None


def missing_extra(arguments: Sequence[str]) -> str | None:
    """Which package a launcher or sweeper on the command line needs, where it is not installed."""
    for argument in arguments:
        plugin, extra = EXTRAS.get(argument, (None, None))
        if plugin is not None and importlib.util.find_spec(f"hydra_plugins.{plugin}") is None:
            return f"{argument} needs a package that is not installed: pip install 'ntkode[{extra}]'"
    return None


def register_resolvers() -> None:
    """Make known the resolvers that conf/ uses."""
    OmegaConf.register_new_resolver("ntkode_workers", workers, replace=True)
    OmegaConf.register_new_resolver("ntkode_cores", cores, replace=True)
    OmegaConf.register_new_resolver("ntkode_gpus", gpus, replace=True)
    OmegaConf.register_new_resolver("ntkode_choices", choices_help, replace=True)
    OmegaConf.register_new_resolver("ntkode_steps", steps_over, replace=True)
    OmegaConf.register_new_resolver("ntkode_data_dir", data_dir, replace=True)


def workers(threads: Any, processes: Any = 1, accelerator: str = "cpu") -> int:
    """Jobs at a time: the cores that this process may use, by those of a job; likewise the GPUs."""
    fitting = len(os.sched_getaffinity(0)) // cores(threads, processes)
    taken = gpus(accelerator, processes)
    if isinstance(taken, int) and taken > 0:
        fitting = min(fitting, len(visible_gpus()) // taken)
    return max(1, fitting)


def cores(threads: Any, processes: Any = 1) -> int:
    """Cores of a job: the threads of each of its processes."""
    counts = [count for count in (threads, processes) if isinstance(count, int)]
    return max(1, math.prod(counts))  # a number that is none: the job itself says so


def gpus(accelerator: str, devices: Any) -> int | None:
    """GPUs of a job; None where the CPU trains."""
    return devices if accelerator in ("gpu", "cuda") else None


def steps_over(horizon: float, per_unit: float) -> int:
    """Solver steps over [0, horizon] of 1/per_unit each, the last one no longer; at least one."""
    return max(1, math.ceil(round(horizon * per_unit, 9)))  # 0.7 * 10 is 7, rounding aside


def data_dir(root: str | None, name: str) -> str | None:
    """The folder `name` of `root`; None, for the data set's own source, where there is none.

    Raises:
        NotADirectoryError: `root` is no folder.
    """
    if root is None:
        return None
    if not Path(root).expanduser().is_dir():
        raise NotADirectoryError(f"data_root={root} is not a folder: data_root=PATH of one with {name}/")
    folder = Path(root).expanduser() / name
    return str(folder) if folder.is_dir() else None


def choices_help() -> str:
    """The groups of conf/ and a line on each choice: the first comment of its file."""
    defaults = {
        str(group).removeprefix("override "): choice
        for entry in OmegaConf.load(CONF / "config.yaml").defaults
        if isinstance(entry, DictConfig)
        for group, choice in entry.items()
    }
    lines: list[str] = []
    for group in (name for name in defaults if (CONF / name).is_dir() and name != "hydra/help"):
        lines += ["", group]
        for name, path in choice_files(group).items():
            mark = "*" if name == defaults[group] else " "
            lines.append(f"  {mark} {name:<20} {description(path)}")
        if group in BASIC:
            mark = "*" if defaults[group] == "basic" else " "
            lines.append(f"  {mark} {'basic':<20} {BASIC[group]}")
    return "\n".join(lines).lstrip("\n")


def choice_files(group: str) -> dict[str, Path]:
    """The files of a group by choice (`paper/depth_output` in a folder), numbers within names by size."""
    folder = CONF / group
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.yaml")}
    return dict(
        sorted(files.items(), key=lambda f: ("/" in f[0], f[0].rstrip("0123456789"), len(f[0]), f[0]))
    )


def description(path: Path) -> str:
    """The first comment of a config file that is no directive to Hydra."""
    comments = (line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@")), "")


if __name__ == "__main__":
    sys.exit(main())
