"""Medians over seeds, a row a cell; runs that did not end well are counted, not dropped in silence."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from ntkode.report.base import Report
from ntkode.report.formatting import MISSING, three_digits
from ntkode.report.tables.comparison import Column, comparison, failures
from ntkode.report.tables.labels import numbers
from ntkode.results import Status


def median_report(
    name: str,
    runs: pd.DataFrame,
    keys: Mapping[str, str],
    measures: Sequence[Column],
    figure: Figure,
    title: str = "medians over seeds",
) -> Report:
    """`<name>.csv`, a row a run; `<name>_medians.csv`, shown with what failed beneath it; and a picture.

    Args:
        name: of the files.
        runs: see `medians`.
        keys: see `medians`.
        measures: the columns of both tables.
        figure: the picture.
        title: of the shown table.
    """
    table, cells = comparison(runs, measures), medians(runs, keys, measures)
    shown = Group(shown_medians(cells, measures, title), *failures(table))
    return Report(name, {name: table, f"{name}_medians": cells}, shown, figure)


def medians(runs: pd.DataFrame, keys: Mapping[str, str], measures: Sequence[Column]) -> pd.DataFrame:
    """A row a cell, in the order of the runs.

    Args:
        runs: what `ntkode.results.load` returns, with any columns that were added to it.
        keys: what a cell is: columns of the runs, and what to call them.
        measures: of which to take medians over the done runs; those that no run has are left out.

    Returns:
        The keys' names, each measure's name, then `runs`, `done`, and `ended`: how the others did, such as
        `diverged`.
    """
    frame = pd.DataFrame({name: runs[column] for column, name in keys.items() if column in runs})
    done = runs["status"] == Status.DONE
    measured = [m for m in measures if m.metric in runs and runs[m.metric].notna().any()]
    values = pd.DataFrame({m.name: numbers(runs, m.metric).where(done) for m in measured})
    rows = []
    for cell, own in frame.groupby(list(frame), sort=False, dropna=False):
        others = runs.loc[own.index[~done[own.index]], "status"].unique()
        told = {"runs": len(own), "done": int(done[own.index].sum()), "ended": ", ".join(others)}
        rows.append(dict(zip(frame, cell, strict=True)) | values.loc[own.index].median().to_dict() | told)
    return pd.DataFrame(rows)


def shown_medians(table: pd.DataFrame, measures: Sequence[Column], title: str) -> Table:
    """`medians` for the terminal: three significant digits, and in the last column how many runs are done."""
    shown = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, title=title)
    headers = {m.name: m.header for m in measures if m.header and m.name in table}
    others = {m.name for m in measures} | {"runs", "done", "ended"}
    told = [str(name) for name in table if name not in others]
    for name in told:
        shown.add_column(name, no_wrap=True)
    for header in headers.values():
        shown.add_column(header, justify="right", no_wrap=True)
    shown.add_column("runs\ndone")
    for _, row in table.iterrows():
        cells = (MISSING if pd.isna(row[name]) else three_digits(row[name]) for name in headers)
        ended = f" {row['ended']}" if row["ended"] else ""
        shown.add_row(
            *(escape(_text(row[name])) for name in told), *cells, f"{row['done']}/{row['runs']}{ended}"
        )
    return shown


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
