"""The report of study=training: the comparison of the runs and their training curves."""

from pathlib import Path

import pandas as pd

from ntkode.report.base import Report
from ntkode.report.tables.comparison import comparison, labels, render
from ntkode.report.training.curves import training_figure
from ntkode.results import load_history


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The table `comparison`, one row per run, and the figure of the curves."""
    table = comparison(runs)
    figure = training_figure(load_history(results_dir, runs["run_id"]), labels(runs))
    return Report("comparison", {"comparison": table}, render(table), figure)
