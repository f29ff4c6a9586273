"""Stored runs as data frames."""

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from ntkode.results.contents import Contents, read_contents, read_history, read_whole
from ntkode.results.foreign_text import visible
from ntkode.results.records import RunRecord
from ntkode.results.selection import Selection, Wanted
from ntkode.results.storage import RecordUnreadable
from ntkode.results.sweeps import PAGE, SWEEPS, SweepIndex

# Histories that are lists of rows at a time; these take several times the memory of a data frame.
RUNS_AT_ONCE = 100
Choices = Mapping[str, dict[str, str]]
_HOW_TO_RUN = "run some first: python benchmarks/run.py -m activation=tanh,softplus,relu"


class NoResults(LookupError):
    """No stored run fits the request."""


def load(
    directory: Path | str,
    sweep: str | None = None,
    *,
    status: str | Collection[str] | None = None,
    where: Wanted | None = None,
) -> pd.DataFrame:
    """The runs stored in `directory`, one row per run.

    Columns: `run_id`, `status`, `message`, `remedy`; the config as `config.<dotted.key>`, for example
    `config.choices.activation`; the summary, for example `loss/train` and `ntk/lambda_min.first` (see
    `ntkode.results.summarise`); the code as `git.commit`, `git.dirty` and `sources_sha256`, a digest of
    ntkode's sources. If `sweep` is given, the choices are those of this sweep: sweeps that share a run may
    use different names for it. Records that cannot be read are omitted, with a warning that names them, and
    so are damaged ones: those whose files differ from the sizes and digests recorded when the run ended.

    Args:
        directory: the results folder.
        sweep: only the runs of this sweep, in its order; by default all runs, sorted by id.
        status: only runs with this status, such as "done", or with one of several.
        where: only runs whose config has these values, such as `{"activation": "tanh", "model.width":
            [256, 512]}`; a collection lists the accepted values.

    Raises:
        NoResults: the folder or the sweep does not exist, or it has no readable run that fits.
        ValueError: an unknown status, or a config key that no run has.

    Example:
        >>> import tempfile
        >>> from ntkode.results import RunRecord, load
        >>> directory = tempfile.mkdtemp()
        >>> for seed, loss in enumerate([0.25, 0.5]):
        ...     record = RunRecord.open(directory, f"run-{seed}")
        ...     record.begin({"seed": seed, "model": {"width": 64}})
        ...     record.write_summary({"loss/train": loss})
        ...     record.finish("done")
        >>> runs = load(directory, status="done", where={"model.width": 64})
        >>> runs[["run_id", "config.seed", "loss/train"]]
          run_id  config.seed  loss/train
        0  run-0            0        0.25
        1  run-1            1        0.50
    """
    return _table(Path(directory), sweep, Selection.of(status, where), read_contents)


def load_verified(
    directory: Path | str,
    sweep: str | None = None,
    *,
    status: str | Collection[str] | None = None,
    where: Wanted | None = None,
) -> pd.DataFrame:
    """As `load`, but all files of each run are read and compared with the recorded digests.

    `load` compares only the size of the history, and leaves its digest to `load_history`. For reports and
    exports, which use both, a run with a damaged history is omitted from both.
    """
    return _table(Path(directory), sweep, Selection.of(status, where), read_whole)


def load_history(
    directory: Path | str,
    run_ids: Iterable[str] | None = None,
    sweep: str | None = None,
    *,
    status: str | Collection[str] | None = None,
    where: Wanted | None = None,
    columns: Collection[str] | None = None,
) -> pd.DataFrame:
    """The histories of runs in `directory`, one row per run and step.

    Columns: `run_id`, `step`, and one per metric, NaN at steps at which it was not measured.

    Args:
        directory: the results folder.
        run_ids: ids of the runs; all by default.
        sweep: only the runs of this sweep.
        status: as for `load`.
        where: as for `load`.
        columns: the metrics to read; all by default. Those that no run has measured are left out.

    Raises:
        NoResults: as for `load`.
        ValueError: as for `load`.
    """
    directory = Path(directory)
    names = list(run_ids) if run_ids is not None and sweep is None else run_ids_of(directory, sweep)
    if run_ids is not None and sweep is not None:
        asked = set(run_ids)
        names = [name for name in names if name in asked]
    unreadable = Unreadable(directory, sweep)
    selection = Selection.of(status, where)
    if selection:
        names = _selected(directory, names, selection, unreadable, _choices(directory, sweep))
    kept = None if columns is None else {"run_id", "step", *columns}
    frames = []
    for start in range(0, len(names), RUNS_AT_ONCE):
        rows: list[dict[str, Any]] = []
        for name in names[start : start + RUNS_AT_ONCE]:
            with unreadable.noting(directory / name):
                rows.extend(_by_step(RunRecord.open(directory, name), kept))
        if rows:
            frames.append(pd.DataFrame(rows))
    unreadable.warn(stacklevel=3)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["run_id", "step"])


def run_ids_of(directory: Path, sweep: str | None) -> list[str]:
    """The ids of the runs of a sweep in its order; without a sweep, of all runs, sorted.

    Raises:
        NoResults: the folder or the sweep does not exist.
    """
    if not directory.is_dir():
        raise NoResults(f"there is no results folder {directory.absolute()}; {_HOW_TO_RUN}")
    if sweep is None:
        folders = (path.name for path in directory.iterdir() if path.is_dir())
        return sorted(name for name in folders if name not in (SWEEPS, PAGE) and not name.startswith("."))
    # Jobs with different overrides may be one run.
    index = SweepIndex(directory, sweep)
    run_ids = list(dict.fromkeys(index.runs().values()))
    if not run_ids:
        known = ", ".join(SweepIndex.names(directory)) or "none"
        raise NoResults(
            f"no sweep {sweep!r} in {directory.absolute()} (stored sweeps: {known}); "
            + "; ".join([*index.problems(), _HOW_TO_RUN])
        )
    return run_ids


def _table(
    directory: Path, sweep: str | None, selection: Selection, read: Callable[[RunRecord], Contents]
) -> pd.DataFrame:
    """The selected runs, one row per run; see `load`."""
    rows, others, unreadable = [], [], Unreadable(directory, sweep)
    run_ids = run_ids_of(directory, sweep)
    choices = _choices(directory, sweep)
    for run_id in run_ids:
        with unreadable.noting(directory / run_id):
            contents = read(RunRecord.open(directory, run_id))
            row = _description(run_id, contents, choices)
            if selection.matches(row):
                rows.append(row | contents.summary)
            else:
                others.append(row)
    unreadable.warn(stacklevel=4)
    if not rows:
        raise _nothing(directory, selection, others)
    return pd.DataFrame(rows)


class LeftOut(UserWarning):
    """Stored records, or lines of a sweep's index, are left out because they are damaged."""


class Unreadable:
    """Collects the records that cannot be read, with the errors, for one warning.

    It begins with the lines of the sweep's index that are not jobs, if a sweep is given.
    """

    def __init__(self, directory: Path, sweep: str | None) -> None:
        self._directory = directory
        self._errors = [] if sweep is None else SweepIndex(directory, sweep).problems()

    @contextmanager
    def noting(self, folder: Path) -> Iterator[None]:
        """Suppress an error of reading the record in `folder` during the `with` block, and note it."""
        try:
            yield
        except (OSError, RecordUnreadable) as error:
            self._errors.append(f"{folder} ({error})")

    def warn(self, stacklevel: int) -> None:
        """Warn once about all noted records (`LeftOut`), at the line `stacklevel` calls above this one."""
        if self._errors:
            message = f"left out unreadable records in {self._directory}: {'; '.join(self._errors)}"
            warnings.warn(visible(message), LeftOut, stacklevel=stacklevel)


def _choices(directory: Path, sweep: str | None) -> Choices:
    return {} if sweep is None else SweepIndex(directory, sweep).choices()


def _selected(
    directory: Path, names: Iterable[str], selection: Selection, unreadable: Unreadable, choices: Choices
) -> list[str]:
    rows = []
    for name in names:
        with unreadable.noting(directory / name):
            rows.append(_description(name, read_contents(RunRecord.open(directory, name)), choices))
    selected = [row["run_id"] for row in rows if selection.matches(row)]
    if not selected:
        raise _nothing(directory, selection, rows)
    return selected


def _nothing(directory: Path, selection: Selection, others: list[dict[str, Any]]) -> NoResults:
    if others:
        return NoResults(f"{directory.absolute()}: {selection.explain(others)}")
    return NoResults(f"no readable run in {directory.absolute()}; {_HOW_TO_RUN}")


def _description(run_id: str, contents: Contents, choices: Choices) -> dict[str, Any]:
    """The row of a run without its summary; `choices`, by run id, replace those of the stored config."""
    config = contents.config
    if run_id in choices:
        config = config | {"choices": choices[run_id]}
    row = {"run_id": run_id} | {key: contents.status.get(key) for key in ("status", "message", "remedy")}
    _add_flat(row, config, "config")
    return row | _code(contents.provenance)


def _by_step(record: RunRecord, columns: Collection[str] | None) -> Iterable[dict[str, Any]]:
    """The history with all rows of a step joined into one, and these columns alone unless None.

    Raises:
        RecordUnreadable: the record does not exist, or its history is damaged.
    """
    if not record.directory.is_dir():
        raise RecordUnreadable("there is no such run")
    by_step: dict[int, dict[str, Any]] = {}
    run_id = record.run_id
    for row in read_history(record):
        if columns is not None:
            row = {name: value for name, value in row.items() if name in columns}
        by_step.setdefault(row["step"], {"run_id": run_id}).update(row)
    return by_step.values()


def _code(provenance: Mapping[str, Any]) -> dict[str, Any]:
    git = provenance.get("git") or {}
    version = {f"git.{key}": git.get(key) for key in ("commit", "dirty")}
    return version | {"sources_sha256": provenance.get("sources_sha256")}


def _add_flat(row: dict[str, Any], config: Mapping[str, Any], prefix: str) -> None:
    """Add the values of a nested config to `row`, as `<prefix>.<dotted.key>`."""
    for key, value in config.items():
        if isinstance(value, dict):
            _add_flat(row, value, f"{prefix}.{key}")
        else:
            row[f"{prefix}.{key}"] = value
