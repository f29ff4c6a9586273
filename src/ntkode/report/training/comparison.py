"""The report of study=training: the comparison of the runs and their training curves."""

from pathlib import Path

import pandas as pd

from ntkode.report.base import Report
from ntkode.report.tables.comparison import comparison, labels, render
from ntkode.report.tables.factors import factors_of
from ntkode.report.training.curves import COLUMNS, training_figure
from ntkode.report.training.ranges import range_figure
from ntkode.results import load_history

# More curves are not readable in one panel.
MOST_CURVES = 60


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The table `comparison`, one row per run, and the figure: a curve per run, or ranges of many runs."""
    table = comparison(runs)
    history = load_history(results_dir, runs["run_id"], columns=COLUMNS)
    if len(runs) > MOST_CURVES:
        figure = range_figure(history, list(runs["run_id"]), factors_of(runs))
    else:
        figure = training_figure(history, labels(runs))
    return Report("comparison", {"comparison": table}, render(table), figure)
