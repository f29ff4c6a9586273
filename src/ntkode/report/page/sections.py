"""A study's part of the page: its report, made from the runs of the sweep that is shown."""

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ntkode.report.base import Report
from ntkode.report.page.about import About, about, place
from ntkode.report.page.choice import Chosen, names_of
from ntkode.report.page.curves import curves
from ntkode.report.registry import reports
from ntkode.report.tables.comparison import labels
from ntkode.results import NoResults, Status, load, load_history


@dataclass(frozen=True)
class Failure:
    """Runs that ended alike, other than done."""

    status: str
    message: str
    remedy: str
    runs: tuple[tuple[str, str], ...]  # run_id, label


@dataclass(frozen=True)
class Section:
    """One report of one sweep.

    Attributes:
        slug: of its anchor and its folder of files.
        chosen: where it comes from.
        about: its heading.
        report: what its runs come to.
        runs: that the sweep asked for by this name, a row a run.
        curves: see `ntkode.report.page.curves`.
        failures: what did not end well.
    """

    slug: str
    chosen: Chosen
    about: About
    report: Report
    runs: pd.DataFrame
    curves: dict[str, Any] | None
    failures: tuple[Failure, ...]

    @property
    def run_ids(self) -> list[str]:
        """Of its runs."""
        return [str(run_id) for run_id in self.runs["run_id"]]

    @property
    def counts(self) -> dict[str, int]:
        """How many runs stand how, `done` first."""
        told = self.runs["status"].value_counts()
        return {str(status): int(told[status]) for status in sorted(told.index, key=lambda s: s != "done")}


@dataclass(frozen=True)
class Omission:
    """What the page lacks, and why."""

    what: str
    why: str


def make_sections(results_dir: Path, chosen: Iterable[Chosen]) -> tuple[list[Section], list[Omission]]:
    """The sections in the page's order; what cannot be read or reported is told, and the rest goes on."""
    sections: list[Section] = []
    omissions: dict[Omission, None] = {}
    for one in sorted(chosen, key=lambda one: place(one.name)):
        what = f"{one.name} (sweep {one.sweep})"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                sections += _sections(results_dir, one, {section.slug for section in sections})
            except NoResults as error:
                omissions[Omission(what, str(error))] = None
            except Exception as error:  # one study's trouble must not cost the reader the others
                omissions[Omission(what, f"its report failed: {type(error).__name__}: {error}")] = None
        unreadable = [str(told.message) for told in caught if "left out unreadable" in str(told.message)]
        omissions |= {Omission(what, message): None for message in dict.fromkeys(unreadable)}
    return sections, list(omissions)


def _sections(results_dir: Path, chosen: Chosen, taken: set[str]) -> Iterator[Section]:
    runs = load(results_dir, chosen.sweep)
    runs = runs[names_of(runs) == chosen.name].reset_index(drop=True)
    if runs.empty:
        raise NoResults("no readable run")
    history = load_history(results_dir, runs["run_id"])
    for report in reports(runs, results_dir):
        slug = _free(_slug(chosen.name), [_slug(chosen.sweep), _slug(report.name)], taken)
        taken.add(slug)
        yield Section(
            slug, chosen, about(chosen.name), report, runs, curves(runs, history), tuple(_failures(runs))
        )


def _failures(runs: pd.DataFrame) -> Iterator[Failure]:
    failed = runs[~runs["status"].isin([Status.DONE, Status.RUNNING])]
    named = labels(runs)
    told = failed[["status", "message", "remedy"]].fillna("").astype(str)
    for end, own in failed.groupby([told[name] for name in told], sort=False):
        status, message, remedy = map(str, end)
        who = tuple((run_id, named[run_id]) for run_id in own["run_id"])
        yield Failure(status, " ".join(message.split()), remedy, who)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.") or "study"


def _free(slug: str, additions: list[str], taken: set[str]) -> str:
    """The slug, with as many additions as it takes for one that is not taken."""
    for addition in additions:
        if slug not in taken:
            return slug
        slug = f"{slug}-{addition}"
    number = 2
    while slug in taken:
        slug, number = f"{slug}-{number}", number + 1
    return slug
