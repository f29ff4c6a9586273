"""The sweeps on the page: the newest of each experiment or study, or the ones asked for by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ntkode.report.registry import EXPERIMENT, STUDY
from ntkode.results import NoResults, RecordUnreadable, RunRecord, SweepIndex

TRAINING = "training"
"""The study of a run whose config names none."""


@dataclass(frozen=True)
class SweepChoice:
    """The sweep behind one section of the page.

    Attributes:
        name: the experiment of the sweep's runs; their study if they name no experiment.
        sweep: the name of the sweep.
        others: names of older sweeps of this experiment or study, which the page omits.
    """

    name: str
    sweep: str
    others: tuple[str, ...] = ()


def choose(results_dir: Path, sweeps: Sequence[str] = ()) -> list[SweepChoice]:
    """The sections of the page: one for each sweep and each experiment or study in it.

    Args:
        results_dir: the results folder.
        sweeps: use all of these sweeps; by default the newest sweep of each experiment or study.

    Raises:
        NoResults: there are no stored sweeps, or one of `sweeps` is not stored.
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
        return [SweepChoice(name, sweep) for name in by_name for sweep in by_name[name] if sweep in sweeps]
    return [SweepChoice(name, newest, tuple(older)) for name, (newest, *older) in by_name.items()]


def names_in(results_dir: Path, sweep: str) -> list[str]:
    """The experiments or studies of a sweep's runs, from its index; from the runs if the index is old."""
    index = SweepIndex(results_dir, sweep)
    stored_choices = index.choices()
    names: dict[str, None] = {}
    for run_id in index.runs().values():
        choices = stored_choices.get(run_id)
        if choices is None:
            try:
                choices = (RunRecord.open(results_dir, run_id).config or {}).get("choices") or {}
            except RecordUnreadable:
                continue  # `load` warns of it if another run of the sweep is readable
        names[choices.get("experiment") or choices.get("study") or TRAINING] = None
    return list(names) or [TRAINING]


def names_of(runs: pd.DataFrame) -> pd.Series:
    """The experiment or study of each run (see `ntkode.results.load`)."""
    names = runs[STUDY].fillna(TRAINING) if STUDY in runs else pd.Series(TRAINING, runs.index)
    return runs[EXPERIMENT].fillna(names) if EXPERIMENT in runs else names
