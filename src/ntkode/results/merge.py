"""Merging the results folders of several machines into one."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ntkode.files import prepare_folder
from ntkode.results.contents import read_history, read_whole
from ntkode.results.copying import copy_record, inventory
from ntkode.results.load import run_ids_of
from ntkode.results.lock import RunLocked
from ntkode.results.records import RunRecord
from ntkode.results.status import Status
from ntkode.results.storage import RecordUnreadable
from ntkode.results.summary import summarise
from ntkode.results.sweeps import SweepIndex

COSTS = "cost/"
"""Prefix of the metrics that differ between two computations of one run: times and memory."""


@dataclass
class Merged:
    """The outcome of a merge, by run id.

    Attributes:
        copied: runs that the target did not have.
        replaced: runs of which the source had the better record: whole, done, or with more rows.
        kept: runs of which the target had a record at least as good.
        conflicts: by run id, the first difference between the numbers of source and target; the target's
            record is kept.
        left_out: by path, why a file of a copied record was not copied.
        skipped: by folder, what was not copied and why: records that are damaged, incomplete or running,
            and lines of a sweep's index that are not jobs.
    """

    copied: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = f"{len(self.copied)} copied, {len(self.replaced)} replaced, {len(self.kept)} kept"
        conflicts = [f"conflict: {run_id}: {difference}" for run_id, difference in self.conflicts.items()]
        skipped = [f"skipped: {folder}: {reason}" for folder, reason in self.skipped.items()]
        left_out = [f"left out: {path} {reason}" for path, reason in self.left_out.items()]
        return "\n".join([counts, *conflicts, *skipped, *left_out])


def merge(sources: Iterable[Path | str], target: Path | str) -> Merged:
    """Copy the records of `sources` into `target`, each completely or not at all, and join their sweeps.

    Only regular files that ntkode stores for a run are copied; no link is followed.

    A record of which a file differs from its recorded digest is not copied. Of two records of one run, the
    whole one is kept (see `_Contents.whole`); of two whole ones the done one, then the one with more rows,
    then the target's. Two records with different numbers in common rows (costs are not compared) are a
    conflict, unless exactly one is whole or exactly one is done.

    Args:
        sources: results folders; they are not changed.
        target: results folder; created if it does not exist.

    Raises:
        NoResults: a source does not exist.
        ValueError: a source is the target.
        OSError: the target cannot be created or written to.
    """
    target = Path(target)
    folders = [Path(source) for source in sources]
    for source in folders:
        if source.resolve() == target.resolve():
            raise ValueError(f"{source} is both a source and the target: merge into another folder")
    runs = {source: run_ids_of(source, None) for source in folders}  # all must exist before any is copied
    merged = Merged()
    prepare_folder(target)
    for source in folders:
        for run_id in runs[source]:
            try:
                _take(RunRecord.open(source, run_id), RunRecord.open(target, run_id), merged)
            except (OSError, RecordUnreadable, RunLocked) as error:
                merged.skipped[str(source / run_id)] = str(error)
        for name in reversed(SweepIndex.names(source)):  # the newest last, so that it is also the target's
            try:
                _join_sweep(SweepIndex(source, name), SweepIndex(target, name), merged)
            except (OSError, RecordUnreadable) as error:
                merged.skipped[str(SweepIndex(source, name).directory)] = str(error)
    return merged


@dataclass(frozen=True)
class _Contents:
    status: Status
    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    sealed: bool  # whether the record has the digests of its files, which `_read` has compared

    @property
    def whole(self) -> bool:
        """Whether nothing is missing; without digests, whether the summary is that of the history."""
        if self.sealed or not (self.summary or self.status is Status.DONE):
            return True
        expected = summarise(self.rows)
        return bool(expected) and all(_same(self.summary.get(name), expected[name]) for name in expected)

    @property
    def done(self) -> bool:
        return self.status is Status.DONE

    @property
    def rank(self) -> tuple[bool, bool, int]:
        return self.whole, self.done, len(self.rows)


def _take(source: RunRecord, target: RunRecord, merged: Merged) -> None:
    """Copy one record, unless the target's is at least as good.

    Raises:
        RecordUnreadable: the source's record is damaged, incomplete or running.
        RunLocked: a process is computing the target's run.
        OSError: a file cannot be read or written.
    """
    inventory(source.directory)  # before files are read, which may be of any kind and size
    new = _read(source)
    if new.status is Status.RUNNING:
        raise RecordUnreadable(
            "still running, or its machine stopped: run the same command there, and merge again"
        )
    if not target.directory.exists():
        _copy(source, target, merged)
        merged.copied.append(source.run_id)
        return
    with target.lock():  # no process computes the run meanwhile
        try:
            old = _read(target)
        except RecordUnreadable as error:
            merged.skipped[str(target.directory)] = (
                f"{error}; replaced by the record of {source.directory.parent}"
            )
            _copy(source, target, merged)
            merged.replaced.append(source.run_id)
            return
        difference = _difference(new, old)
        if new.whole != old.whole:
            worse, better = (source, target) if old.whole else (target, source)
            merged.skipped[str(worse.directory)] = (
                f"its summary is not that of its history; the record of {better.directory.parent} is kept"
            )
        if difference and (new.whole, new.done) == (old.whole, old.done):
            folders = f"{source.directory.parent} and {target.directory.parent}"
            merged.conflicts[source.run_id] = f"{folders}: {difference}; kept the latter"
        elif new.rank > old.rank:
            _copy(source, target, merged)
            merged.replaced.append(source.run_id)
        else:
            merged.kept.append(source.run_id)


def _read(record: RunRecord) -> _Contents:
    """Status, rows and summary of a record.

    Raises:
        RecordUnreadable: a file is damaged or missing.
    """
    contents = read_whole(record)
    status, sealed = Status(contents.status["status"]), "files" in contents.status
    return _Contents(status, read_history(record), contents.summary, sealed)


def _copy(source: RunRecord, target: RunRecord, merged: Merged) -> None:
    for name, problem in copy_record(source.directory, target.directory).items():
        merged.left_out[str(source.directory / name)] = problem


def _difference(new: _Contents, old: _Contents) -> str | None:
    """The first difference between the numbers of two records of a run, without costs; None: equal."""
    pairs = [(f"step {a.get('step')}", a, b) for a, b in zip(new.rows, old.rows, strict=False)]
    if new.status is old.status is Status.DONE:
        if len(new.rows) != len(old.rows):
            return f"{len(new.rows)} rows against {len(old.rows)}"
        pairs.append(("summary", new.summary, old.summary))
    for place, a, b in pairs:
        for name in _numbers(a) | _numbers(b):
            if not _same(a.get(name), b.get(name)):
                return f"{place}: {name} is {a.get(name)} against {b.get(name)}"
    return None


def _numbers(row: Mapping[str, Any]) -> dict[str, None]:
    """The names of the numbers to compare, in order, as keys of a dict."""
    return {name: None for name in row if not name.startswith(COSTS)}


def _same(a: Any, b: Any) -> bool:
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return both_nan or a == b


def _join_sweep(theirs: SweepIndex, ours: SweepIndex, merged: Merged) -> None:
    """Add to a sweep of the target the jobs of the source's whose runs the target has."""
    problems = theirs.problems()
    if problems:
        merged.skipped[str(theirs.directory)] = "; ".join(problems)
    known, target = ours.runs(), ours.directory.parent.parent
    for entry in theirs.entries():
        job, run_id = entry["job"], entry["run_id"]
        if known.get(job) != run_id and (target / run_id).is_dir():
            ours.add(run_id, job, entry["number"], entry.get("choices"))
