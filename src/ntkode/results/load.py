"""Stored runs as data frames."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from ntkode.results.records import RunRecord, Status
from ntkode.results.selection import Selection, Wanted
from ntkode.results.storage import RecordUnreadable
from ntkode.results.sweeps import PAGE, SWEEPS, SweepIndex

_STATUSES = frozenset(map(str, Status))
Choices = Mapping[str, dict[str, str]]
_HOW_TO_RUN = "run some first: python benchmarks/run.py -m activation=tanh,softplus,relu"


class NoResults(LookupError):
    """There is nothing to load."""


def load(
    directory: Path | str,
    sweep: str | None = None,
    *,
    status: str | Collection[str] | None = None,
    where: Wanted | None = None,
) -> pd.DataFrame:
    """The runs stored in `directory`, one row a run.

    Columns: `run_id`, `status`, `message`, `remedy`; the config as `config.<dotted.key>`, for example
    `config.choices.activation` (of a sweep, the choices by which this one asked for the run: sweeps that
    share a run may call it by other names); the summary under its own names, for example `loss/train` and
    `ntk/lambda_min.first` (see `ntkode.results.summarise`); the code that computed it as `git.commit`,
    `git.dirty` and `sources_sha256`, a digest of ntkode's sources. Records that cannot be read are left out,
    and named in a warning.

    Args:
        directory: the results folder.
        sweep: only the runs of this sweep, in its order; otherwise all, by name.
        status: only runs with this status, or one of these, such as "done".
        where: only runs whose config has these values, such as `{"activation": "tanh", "model.width":
            [256, 512]}`: a collection lists the values that will do.

    Raises:
        NoResults: there is no such folder, no such sweep, no readable run, or none that is asked for.
        ValueError: no such status, or a config key that no run has.
    """
    selection = Selection.of(status, where)
    directory = Path(directory)
    rows, others, unreadable = [], [], Unreadable()
    run_ids = run_ids_of(directory, sweep)
    choices = _choices(directory, sweep)
    for run_id in run_ids:
        with unreadable.noting(directory / run_id):
            record = RunRecord.open(directory, run_id)
            row = _told(record, choices)
            if selection.matches(row):
                rows.append(row | (record.summary() or {}))
            else:
                others.append(row)
    unreadable.warn(directory)
    if not rows:
        raise _nothing(directory, selection, others)
    return pd.DataFrame(rows)


def load_history(
    directory: Path | str,
    run_ids: Iterable[str] | None = None,
    sweep: str | None = None,
    *,
    status: str | Collection[str] | None = None,
    where: Wanted | None = None,
) -> pd.DataFrame:
    """The histories of runs in `directory`, one row per run and step.

    Columns: `run_id`, `step`, then a column a metric, NaN at steps at which it was not measured.

    Args:
        directory: the results folder.
        run_ids: which runs; all by default.
        sweep: only the runs of this sweep.
        status: as for `load`.
        where: as for `load`.

    Raises:
        NoResults: as for `load`.
        ValueError: as for `load`.
    """
    directory = Path(directory)
    names = list(run_ids) if run_ids is not None and sweep is None else run_ids_of(directory, sweep)
    if run_ids is not None and sweep is not None:
        asked = set(run_ids)
        names = [name for name in names if name in asked]
    unreadable = Unreadable()
    selection = Selection.of(status, where)
    if selection:
        names = _selected(directory, names, selection, unreadable, _choices(directory, sweep))
    rows: list[dict[str, Any]] = []
    for name in names:
        with unreadable.noting(directory / name):
            rows.extend(_by_step(RunRecord.open(directory, name)))
    unreadable.warn(directory)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["run_id", "step"])


def run_ids_of(directory: Path, sweep: str | None) -> list[str]:
    """The runs of a sweep in its order, or all by name.

    Raises:
        NoResults: there is no such folder, or no such sweep.
    """
    if not directory.is_dir():
        raise NoResults(f"there is no results folder {directory.absolute()}; {_HOW_TO_RUN}")
    if sweep is None:
        folders = (path.name for path in directory.iterdir() if path.is_dir())
        return sorted(name for name in folders if name not in (SWEEPS, PAGE) and not name.startswith("."))
    # Two jobs may be one run: their overrides differ, the numbers do not.
    run_ids = list(dict.fromkeys(SweepIndex(directory, sweep).runs().values()))
    if not run_ids:
        known = ", ".join(SweepIndex.names(directory)) or "none"
        raise NoResults(
            f"no sweep {sweep!r} in {directory.absolute()} (stored sweeps: {known}); {_HOW_TO_RUN}"
        )
    return run_ids


class Unreadable:
    """The records that could not be read, and why."""

    def __init__(self) -> None:
        self._told: list[str] = []

    @contextmanager
    def noting(self, folder: Path) -> Iterator[None]:
        """Note the folder where its record turns out to be corrupt or half-written, and go on."""
        try:
            yield
        except (OSError, RecordUnreadable) as error:
            self._told.append(f"{folder} ({error})")

    def warn(self, directory: Path) -> None:
        """Name them in one warning, at the level of whoever called `load` or `load_history`."""
        if self._told:
            told = "; ".join(self._told)
            warnings.warn(f"left out unreadable records in {directory}: {told}", stacklevel=3)


def _choices(directory: Path, sweep: str | None) -> Choices:
    return {} if sweep is None else SweepIndex(directory, sweep).choices()


def _selected(
    directory: Path, names: Iterable[str], selection: Selection, unreadable: Unreadable, choices: Choices
) -> list[str]:
    rows = []
    for name in names:
        with unreadable.noting(directory / name):
            rows.append(_told(RunRecord.open(directory, name), choices))
    selected = [row["run_id"] for row in rows if selection.matches(row)]
    if not selected:
        raise _nothing(directory, selection, rows)
    return selected


def _nothing(directory: Path, selection: Selection, others: list[dict[str, Any]]) -> NoResults:
    if others:
        return NoResults(f"{directory.absolute()}: {selection.explain(others)}")
    return NoResults(f"no readable run in {directory.absolute()}; {_HOW_TO_RUN}")


def _told(record: RunRecord, choices: Choices) -> dict[str, Any]:
    """A row without the run's numbers; `choices` by run take the place of those that it stores.

    Raises:
        RecordUnreadable: status or config is missing or corrupt.
    """
    status, config = record.status, record.config
    if status is None or config is None:
        raise RecordUnreadable("half-written: no status.json or config.json")
    if status.get("status") not in _STATUSES:
        raise RecordUnreadable(f"status.json tells no known status: {status.get('status')!r}")
    if record.run_id in choices:
        config = config | {"choices": choices[record.run_id]}
    told = {key: status.get(key) for key in ("status", "message", "remedy")}
    return {"run_id": record.run_id, **told, **_flat(config, "config"), **_code(record)}


def _by_step(record: RunRecord) -> Iterable[dict[str, Any]]:
    """The history with the rows of one step joined.

    Raises:
        RecordUnreadable: there is no such record, or its history is corrupt.
    """
    if not record.directory.is_dir():
        raise RecordUnreadable("there is no such run")
    by_step: dict[int, dict[str, Any]] = {}
    run_id = record.run_id
    for row in record.history():
        by_step.setdefault(row["step"], {"run_id": run_id}).update(row)
    return by_step.values()


def _code(record: RunRecord) -> dict[str, Any]:
    provenance = record.provenance() or {}
    git = provenance.get("git") or {}
    version = {f"git.{key}": git.get(key) for key in ("commit", "dirty")}
    return version | {"sources_sha256": provenance.get("sources_sha256")}


def _flat(config: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}.{key}"
        flat.update(_flat(value, name) if isinstance(value, dict) else {name: value})
    return flat
