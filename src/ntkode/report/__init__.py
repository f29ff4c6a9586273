"""From stored runs to a table and a picture; computes nothing, reads only `ntkode.results`."""

import os
from pathlib import Path

import pandas as pd
from rich.console import Console

from ntkode.report.registry import report_of, reports
from ntkode.report.tables.comparison import comparison, labels, render
from ntkode.report.training.curves import save, training_figure
from ntkode.results import SweepIndex, load, write_atomically

__all__ = [
    "comparison",
    "labels",
    "render",
    "report_console",
    "report_of",
    "report_sweep",
    "save",
    "training_figure",
]

PLAIN_WIDTH = 110
"""Columns where output is no terminal: the default 80 would break the table's lines."""


def report_console() -> Console:
    """A console on standard output that is wide enough for the table."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=PLAIN_WIDTH)


def report_sweep(
    results_dir: Path | str, sweep: str, console: Console, out: Path | str | None = None
) -> pd.DataFrame:
    """Print a sweep's reports, one a study; write their tables as CSV, their pictures as PNG and PDF.

    Args:
        results_dir: the results folder.
        sweep: the sweep's name.
        console: where the tables and the paths of the files go.
        out: the folder of the files; the sweep's own folder by default.

    Returns:
        All runs, one row a run (see `comparison`).

    Raises:
        NoResults: the sweep has no readable run.
    """
    runs = load(results_dir, sweep)
    folder = SweepIndex(results_dir, sweep).directory if out is None else Path(out)
    for report in reports(runs, Path(results_dir)):
        console.print(report.shown)
        paths = []
        for name, table in report.tables.items():
            paths.append(folder / f"{name}.csv")
            write_atomically(paths[-1], table.to_csv(index=False))
        if report.figure is not None:
            paths += save(report.figure, folder / report.name)
        for path in paths:
            console.print(str(path), style="dim", highlight=False, soft_wrap=True)
    versions = runs["sources_sha256"].nunique()
    if versions > 1:
        console.print(
            f"computed by {versions} versions of ntkode's code: git.commit and sources_sha256 in "
            "ntkode.results.load tell which"
        )
    return comparison(runs)
