"""Stored runs as files for other programs: Parquet and CSV."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ntkode.files import write_atomically
from ntkode.results.foreign_text import csv_text
from ntkode.results.load import load_history, load_verified
from ntkode.results.selection import Wanted

FORMATS = ("parquet", "csv")


def export(
    directory: Path | str,
    out: Path | str,
    sweep: str | None = None,
    *,
    status: str | Collection[str] | None = None,
    where: Wanted | None = None,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Write the runs (`runs.parquet`, `runs.csv`) and their histories (`history.parquet`, `history.csv`).

    Columns and rows are those of `load_verified` and `load_history`. A column with values of several types,
    or with lists, is stored as JSON text (`"auto"`, `0.1`), because a Parquet column has one type.

    Args:
        directory: the results folder.
        out: the folder to write to; its files of these names are replaced.
        sweep: as for `load`.
        status: as for `load`.
        where: as for `load`.
        formats: the formats to write, among `FORMATS`.

    Returns:
        The paths of the files.

    Raises:
        NoResults: as for `load`.
        ValueError: as for `load`, or an unknown format.
    """
    for format_ in formats:
        if format_ not in FORMATS:
            raise ValueError(f"format={format_} is not one of {', '.join(FORMATS)}, as in format=parquet")
    runs = load_verified(directory, sweep, status=status, where=where)
    tables = {"runs": runs, "history": load_history(directory, list(runs["run_id"]))}
    paths = []
    for name, table in tables.items():
        storable = table.apply(_of_one_type)
        for format_ in formats:
            path = Path(out) / f"{name}.{format_}"
            write_atomically(path, _WRITERS[format_](storable))
            paths.append(path)
    return paths


_WRITERS: Mapping[str, Callable[[pd.DataFrame], bytes]] = {
    "parquet": lambda table: table.to_parquet(None, index=False, engine="pyarrow"),
    "csv": lambda table: csv_text(table).encode(),
}


def _of_one_type(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The column with one type: as JSON text if its values are of several types or lists."""
    if column.dtype != object:
        return column
    types = {type(value) for value in column if not _missing(value)}
    if types <= {str}:
        return column.astype("str")
    if types <= {bool}:
        return column.astype("boolean")
    if types <= {int, float}:
        return column.astype("float64")
    return column.map(lambda value: None if _missing(value) else json.dumps(value)).astype("str")


def _missing(value: Any) -> bool:
    # Only NaN differs from itself; pandas.isna does not return one value for a list.
    return value is None or value != value
