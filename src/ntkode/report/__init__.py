"""From stored runs to a table and a picture; computes nothing, reads only `ntkode.results`."""

import os
from pathlib import Path

import pandas as pd
from rich.console import Console

from ntkode.report.figures import save, training_figure
from ntkode.report.progress import SweepMonitor
from ntkode.report.tables import comparison, labels, render
from ntkode.results import SweepIndex, load, load_history, write_atomically

__all__ = [
    "SweepMonitor",
    "comparison",
    "labels",
    "render",
    "report_console",
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
    """Print a sweep's comparison table; write it as CSV, and the training curves as PNG and PDF.

    Args:
        results_dir: the results folder.
        sweep: the sweep's name.
        console: where the table and the paths of the files go.
        out: the folder of `comparison.csv`, `.png` and `.pdf`; the sweep's own folder by default.

    Returns:
        The table, one row a run (see `comparison`).

    Raises:
        NoResults: the sweep has no readable run.
    """
    runs = load(results_dir, sweep)
    table = comparison(runs)
    folder = SweepIndex(results_dir, sweep).directory if out is None else Path(out)
    csv = folder / "comparison.csv"
    write_atomically(csv, table.to_csv(index=False))
    figure = training_figure(load_history(results_dir, runs["run_id"]), labels(runs))
    console.print(render(table))
    for path in (csv, *save(figure, folder / "comparison")):
        console.print(str(path), style="dim", highlight=False, soft_wrap=True)
    return table
