"""Tables of medians over seeds; runs that failed are counted."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from ntkode.report.base import Report
from ntkode.report.formatting import measured, plain
from ntkode.report.tables.comparison import Column, comparison, failures
from ntkode.report.tables.labels import numbers
from ntkode.report.tables.terminal import terminal_table
from ntkode.results import Status


def median_report(
    name: str,
    runs: pd.DataFrame,
    keys: Mapping[str, str],
    measures: Sequence[Column],
    figure: Figure,
    title: str = "medians over seeds",
) -> Report:
    """The tables `<name>` (one row per run) and `<name>_medians`, which the terminal displays, and a figure.

    Args:
        name: of the files.
        runs: see `medians`.
        keys: see `medians`.
        measures: the columns of both tables.
        figure: the figure of the report.
        title: of the table in the terminal.
    """
    table, summary = comparison(runs, measures), medians(runs, keys, measures)
    rendering = Group(render_medians(summary, measures, title), *failures(table))
    return Report(name, {name: table, f"{name}_medians": summary}, rendering, figure)


def medians(runs: pd.DataFrame, keys: Mapping[str, str], measures: Sequence[Column]) -> pd.DataFrame:
    """Medians over the done runs of each group, one row per group, in the order of the runs.

    Args:
        runs: what `ntkode.results.load` returns; columns may have been added.
        keys: the columns of the runs that define a group, with their names in the table.
        measures: the quantities; one that no run has is left out.

    Returns:
        Columns: the names of the keys and the measures, then `runs` and `done` (counts), and `ended`: the
        statuses of the other runs, such as `diverged`.
    """
    frame = pd.DataFrame({name: runs[column] for column, name in keys.items() if column in runs})
    done = runs["status"] == Status.DONE
    present = [m for m in measures if m.metric in runs and runs[m.metric].notna().any()]
    values = pd.DataFrame({m.name: numbers(runs, m.metric).where(done) for m in present}, index=runs.index)
    rows = []
    for key, group in frame.groupby(list(frame), sort=False, dropna=False):
        finished = done[group.index]
        others = runs.loc[group.index[~finished], "status"].unique()
        counts = {"runs": len(group), "done": int(finished.sum()), "ended": ", ".join(others)}
        rows.append(dict(zip(frame, key, strict=True)) | values.loc[group.index].median().to_dict() | counts)
    return pd.DataFrame(rows)


def render_medians(table: pd.DataFrame, measures: Sequence[Column], title: str) -> Table:
    """`medians` for the terminal: three significant digits, with the counts of runs in the last column."""
    headers = {m.name: m.header for m in measures if m.header and m.name in table}
    others = {m.name for m in measures} | {"runs", "done", "ended"}
    keys = [str(name) for name in table if name not in others]
    rendering = terminal_table(keys, headers.values(), title=title, padding=0)
    for column in rendering.columns:
        column.no_wrap = True
    rendering.add_column("runs\ndone")
    for _, row in table.iterrows():
        key = (escape(_setting(row[name])) for name in keys)
        ended = f" {row['ended']}" if row["ended"] else ""
        values = (measured(row[name]) for name in headers)
        rendering.add_row(*key, *values, f"{row['done']}/{row['runs']}{ended}")
    return rendering


def _setting(value: object) -> str:
    return plain(value) if isinstance(value, float) else str(value)
