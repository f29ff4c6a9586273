"""Stored runs as data frames."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ntkode.results.records import RunRecord
from ntkode.results.storage import RecordUnreadable
from ntkode.results.sweeps import SWEEPS, SweepIndex

_HOW_TO_RUN = "run some first: python benchmarks/run.py -m activation=tanh,softplus,relu"


class NoResults(LookupError):
    """There is nothing to load."""


def load(directory: Path | str, sweep: str | None = None) -> pd.DataFrame:
    """The runs stored in `directory`, one row a run.

    Columns: `run_id`, `status`, `message`, `remedy`; the config as `config.<dotted.key>`, for example
    `config.choices.activation`; the summary under its own names, for example `loss/train` and
    `ntk/lambda_min.first` (see `ntkode.results.summarise`); the code that computed it as `git.commit`,
    `git.dirty` and `sources_sha256`, a digest of ntkode's sources. Records that cannot be read are left out,
    and named in a warning.

    Args:
        directory: the results folder.
        sweep: only the runs of this sweep, in its order; otherwise all, by name.

    Raises:
        NoResults: there is no such folder, no such sweep, or no readable run.
    """
    directory = Path(directory)
    rows, unreadable = [], []
    for run_id in _run_ids(directory, sweep):
        try:
            rows.append(_row(RunRecord.open(directory, run_id)))
        except (OSError, RecordUnreadable) as error:
            unreadable.append(f"{run_id} ({error})")
    _warn(directory, unreadable)
    if not rows:
        raise NoResults(f"no readable run in {directory.absolute()}; {_HOW_TO_RUN}")
    return pd.DataFrame(rows)


def load_history(directory: Path | str, run_ids: Iterable[str] | None = None) -> pd.DataFrame:
    """The histories of runs in `directory`, one row per run and step.

    Columns: `run_id`, `step`, then a column a metric, NaN at steps at which it was not measured.

    Args:
        directory: the results folder.
        run_ids: which runs; all by default.
    """
    directory = Path(directory)
    rows: list[dict[str, Any]] = []
    unreadable = []
    for run_id in _run_ids(directory, None) if run_ids is None else run_ids:
        by_step: dict[int, dict[str, Any]] = {}
        try:
            for row in RunRecord.open(directory, run_id).history():
                by_step.setdefault(row["step"], {"run_id": run_id}).update(row)
        except (OSError, RecordUnreadable) as error:
            unreadable.append(f"{run_id} ({error})")
            continue
        rows.extend(by_step.values())
    _warn(directory, unreadable)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["run_id", "step"])


def _run_ids(directory: Path, sweep: str | None) -> list[str]:
    if not directory.is_dir():
        raise NoResults(f"there is no results folder {directory.absolute()}; {_HOW_TO_RUN}")
    if sweep is None:
        folders = (path.name for path in directory.iterdir() if path.is_dir())
        return sorted(name for name in folders if name != SWEEPS and not name.startswith("."))
    # Two jobs may be one run: their overrides differ, the numbers do not.
    run_ids = list(dict.fromkeys(SweepIndex(directory, sweep).runs().values()))
    if not run_ids:
        known = ", ".join(SweepIndex.names(directory)) or "none"
        raise NoResults(
            f"no sweep {sweep!r} in {directory.absolute()} (stored sweeps: {known}); {_HOW_TO_RUN}"
        )
    return run_ids


def _row(record: RunRecord) -> dict[str, Any]:
    status, config = record.status, record.config
    if status is None or config is None:
        raise RecordUnreadable("half-written: no status.json or config.json")
    told = {key: status.get(key) for key in ("status", "message", "remedy")}
    numbers = record.summary() or {}
    return {"run_id": record.run_id, **told, **_flat(config, "config"), **_code(record), **numbers}


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


def _warn(directory: Path, unreadable: list[str]) -> None:
    if unreadable:
        # The level of whoever called load or load_history.
        warnings.warn(f"left out unreadable records in {directory}: {'; '.join(unreadable)}", stacklevel=3)
