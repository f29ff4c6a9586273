"""The sections of the page: reports made from the runs of the sweeps on it."""

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ntkode.report.base import Report
from ntkode.report.page.about import About, about, place
from ntkode.report.page.choice import SweepChoice, names_of
from ntkode.report.page.curves import COLUMNS, curves
from ntkode.report.registry import reports
from ntkode.report.tables.comparison import labels
from ntkode.results import LeftOut, NoResults, Status, load_history, load_verified


@dataclass(frozen=True)
class Failure:
    """Runs with the same status (not done), message and remedy."""

    status: str
    message: str
    remedy: str
    runs: tuple[tuple[str, str], ...]  # run_id, label


@dataclass(frozen=True)
class Section:
    """One report of one sweep.

    Attributes:
        slug: name of its anchor and of its folder of files.
        choice: its sweep, and its experiment or study.
        about: its title and question.
        report: the report of its runs.
        runs: the runs of the sweep that belong to the experiment or study, one row per run.
        curves: the data of its charts, see `ntkode.report.page.curves`.
        failures: the runs that failed, grouped by reason.
    """

    slug: str
    choice: SweepChoice
    about: About
    report: Report
    runs: pd.DataFrame
    curves: dict[str, Any] | None
    failures: tuple[Failure, ...]

    @property
    def run_ids(self) -> list[str]:
        """The ids of its runs."""
        return [str(run_id) for run_id in self.runs["run_id"]]

    @property
    def counts(self) -> dict[str, int]:
        """The number of runs by status, `done` first."""
        counts = self.runs["status"].value_counts()
        return {
            str(status): int(counts[status]) for status in sorted(counts.index, key=lambda s: s != "done")
        }


@dataclass(frozen=True)
class Omission:
    """Something missing on the page, with the reason."""

    what: str
    why: str


def make_sections(results_dir: Path, choices: Iterable[SweepChoice]) -> tuple[list[Section], list[Omission]]:
    """The sections in the order of the page, and the omissions: what cannot be read or reported."""
    sections: list[Section] = []
    omissions: dict[Omission, None] = {}
    for choice in sorted(choices, key=lambda choice: place(choice.name)):
        what = f"{choice.name} (sweep {choice.sweep})"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                sections += _sections(results_dir, choice, {section.slug for section in sections})
            except NoResults as error:
                omissions[Omission(what, str(error))] = None
            except Exception as error:  # an error in one study must not hide the others
                omissions[Omission(what, f"its report failed: {type(error).__name__}: {error}")] = None
        unreadable = [str(warning.message) for warning in caught if issubclass(warning.category, LeftOut)]
        omissions |= {Omission(what, message): None for message in dict.fromkeys(unreadable)}
    return sections, list(omissions)


def _sections(results_dir: Path, choice: SweepChoice, taken: set[str]) -> Iterator[Section]:
    runs = load_verified(results_dir, choice.sweep)
    runs = runs[names_of(runs) == choice.name].reset_index(drop=True)
    if runs.empty:
        raise NoResults("no readable run")
    history = load_history(results_dir, runs["run_id"], columns=COLUMNS)
    for report in reports(runs, results_dir):
        slug = _free(_slug(choice.name), [_slug(choice.sweep), _slug(report.name)], taken)
        taken.add(slug)
        yield Section(
            slug, choice, about(choice.name), report, runs, curves(runs, history), tuple(_failures(runs))
        )


def _failures(runs: pd.DataFrame) -> Iterator[Failure]:
    failed = runs[~runs["status"].isin([Status.DONE, Status.RUNNING])]
    named = labels(runs)
    reasons = failed[["status", "message", "remedy"]].fillna("").astype(str)
    for reason, group in failed.groupby([reasons[name] for name in reasons], sort=False):
        status, message, remedy = map(str, reason)
        labelled = tuple((run_id, named[run_id]) for run_id in group["run_id"])
        yield Failure(status, " ".join(message.split()), remedy, labelled)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.") or "study"


def _free(slug: str, additions: list[str], taken: set[str]) -> str:
    """The slug, extended until it is not in `taken`."""
    for addition in additions:
        if slug not in taken:
            return slug
        slug = f"{slug}-{addition}"
    number = 2
    while slug in taken:
        slug, number = f"{slug}-{number}", number + 1
    return slug
