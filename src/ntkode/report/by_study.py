"""Which report belongs to which runs, by the names under which their sweep asked for them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from ntkode.report import depth_limit, gradient_accuracy, gradient_training, training, width_limit
from ntkode.report.base import Report, StudyReport
from ntkode.report.tables import comparison, render

REPORTS: dict[str, StudyReport] = {
    "training": training.report,
    "width_limit": width_limit.report,
    "depth_limit": depth_limit.report,
    "gradient_accuracy": gradient_accuracy.report,
    "gradient_training": gradient_training.report,
}
"""By a study's name in conf/study: what any sweep of it shows."""

EXPERIMENTS: dict[str, StudyReport] = {}
"""By an experiment's name in conf/experiment: what it claims, in place of its study's report."""

STUDY, EXPERIMENT = "config.choices.study", "config.choices.experiment"


def reports(runs: pd.DataFrame, results_dir: Path) -> Iterator[Report]:
    """A report for each experiment or study that the runs belong to, in the order of the runs.

    An experiment without a report of its own gets its study's. A run whose config names no study is one of
    training; a study without a report of its own gets the comparison of its runs.
    """
    names = runs[STUDY].fillna("training") if STUDY in runs else pd.Series("training", runs.index)
    if EXPERIMENT in runs:
        names = runs[EXPERIMENT].where(runs[EXPERIMENT].isin([*EXPERIMENTS]), names)
    for name in names.unique():
        yield report_of(name)(runs[names == name].reset_index(drop=True), results_dir)


def report_of(name: str) -> StudyReport:
    """How runs of the experiment or study of this name (in conf/) are reported."""
    return EXPERIMENTS.get(name) or REPORTS.get(name) or partial(_plain, name)


def _plain(study: str, runs: pd.DataFrame, results_dir: Path) -> Report:
    table = comparison(runs)
    return Report(study, {study: table}, render(table))
