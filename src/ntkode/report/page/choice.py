"""Which sweeps the page shows: the newest of each experiment or study, or those that are named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ntkode.report.registry import EXPERIMENT, STUDY
from ntkode.results import NoResults, RecordUnreadable, RunRecord, SweepIndex

TRAINING = "training"
"""The study of runs that name none."""


@dataclass(frozen=True)
class Chosen:
    """A sweep that a section shows.

    Attributes:
        name: the experiment by which the sweep asked for its runs; the study, where it named none.
        sweep: the sweep.
        others: older sweeps of that name, which the page leaves out.
    """

    name: str
    sweep: str
    others: tuple[str, ...] = ()


def choose(results_dir: Path, sweeps: Sequence[str] = ()) -> list[Chosen]:
    """The sections to show, one an experiment or study and sweep.

    Args:
        results_dir: the results folder.
        sweeps: show all that these hold; by default the newest sweep of each name.

    Raises:
        NoResults: nothing is stored, or no sweep of a name that is given.
    """
    stored = SweepIndex.names(results_dir)
    if not stored:
        raise NoResults(f"no sweep is stored in {str(results_dir)!r}; make one first: make run")
    unknown = [sweep for sweep in sweeps if sweep not in stored]
    if unknown:
        raise NoResults(
            f"no sweep {unknown[0]!r} in {results_dir.absolute()} (stored sweeps: {', '.join(stored)})"
        )
    by_name: dict[str, list[str]] = {}
    for sweep in stored:  # the newest first
        for name in names_in(results_dir, sweep):
            by_name.setdefault(name, []).append(sweep)
    if sweeps:
        return [Chosen(name, sweep) for name, held in by_name.items() for sweep in held if sweep in sweeps]
    return [Chosen(name, held[0], tuple(held[1:])) for name, held in by_name.items()]


def names_in(results_dir: Path, sweep: str) -> list[str]:
    """The experiments or studies by which a sweep asked for its runs; old indices leave that to the runs."""
    index = SweepIndex(results_dir, sweep)
    told = index.choices()
    names: dict[str, None] = {}
    for run_id in index.runs().values():
        choices = told.get(run_id)
        if choices is None:
            try:
                choices = (RunRecord.open(results_dir, run_id).config or {}).get("choices") or {}
            except RecordUnreadable:
                continue  # named by `load`, where another run of the sweep can be read
        names[choices.get("experiment") or choices.get("study") or TRAINING] = None
    return list(names) or [TRAINING]


def names_of(runs: pd.DataFrame) -> pd.Series:
    """The same for each run of a sweep, as `ntkode.results.load` tells them."""
    names = runs[STUDY].fillna(TRAINING) if STUDY in runs else pd.Series(TRAINING, runs.index)
    return runs[EXPERIMENT].fillna(names) if EXPERIMENT in runs else names
