"""Tables and figures of stored runs, read from `ntkode.results`."""

import os
from pathlib import Path

import pandas as pd
from rich.console import Console

from ntkode.files import write_atomically
from ntkode.report.console import RecordConsole
from ntkode.report.registry import report_of, reports
from ntkode.report.tables.comparison import comparison, labels, render
from ntkode.report.training.curves import save, training_figure
from ntkode.results import SweepIndex, load_verified
from ntkode.results.foreign_text import csv_text

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
"""Characters per line if the output is not a terminal; the default of 80 would break table rows."""


def report_console() -> Console:
    """A console on standard output that is wide enough for the tables."""
    console = RecordConsole()
    return console if console.is_terminal or "COLUMNS" in os.environ else RecordConsole(width=PLAIN_WIDTH)


def report_sweep(
    results_dir: Path | str, sweep: str, console: Console, out: Path | str | None = None
) -> pd.DataFrame:
    """Print the reports of a sweep, one per study; store their tables as CSV, their figures as PNG and PDF.

    Args:
        results_dir: the results folder.
        sweep: the sweep's name.
        console: prints the tables and the paths of the files.
        out: the output folder; by default the folder of the sweep.

    Returns:
        The comparison of all runs, one row per run (see `comparison`).

    Raises:
        NoResults: no run of the sweep can be read.
    """
    runs = load_verified(results_dir, sweep)
    folder = SweepIndex(results_dir, sweep).directory if out is None else Path(out)
    for report in reports(runs, Path(results_dir)):
        console.print(report.rendering)
        paths = []
        for name, table in report.tables.items():
            paths.append(folder / f"{name}.csv")
            write_atomically(paths[-1], csv_text(table))
        if report.figure is not None:
            paths += save(report.figure, folder / report.name)
        for path in paths:
            console.print(str(path), style="dim", highlight=False, soft_wrap=True)
    versions = runs["sources_sha256"].nunique()
    if versions > 1:
        console.print(
            f"{versions} versions of ntkode's code computed these runs: see git.commit and sources_sha256 in "
            "ntkode.results.load"
        )
    return comparison(runs)
