"""Which report belongs to which study, by the name that a run's config stores."""

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

_STUDY = "config.choices.study"


def reports(runs: pd.DataFrame, results_dir: Path) -> Iterator[Report]:
    """A report for each study that the runs belong to, in the order of the runs.

    A run whose config names no study is one of training; a study without a report of its own gets the
    comparison of its runs.
    """
    studies = runs[_STUDY].fillna("training") if _STUDY in runs else pd.Series("training", runs.index)
    for study in studies.unique():
        yield report_of(study)(runs[studies == study].reset_index(drop=True), results_dir)


def report_of(study: str) -> StudyReport:
    """How runs of the study of this name (in conf/study) are reported."""
    return REPORTS.get(study) or partial(_plain, study)


def _plain(study: str, runs: pd.DataFrame, results_dir: Path) -> Report:
    table = comparison(runs)
    return Report(study, {study: table}, render(table))
