"""Which report belongs to which runs, by the names under which their sweep asked for them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from ntkode.report.base import Report, StudyReport
from ntkode.report.gradients import accuracy as gradient_accuracy
from ntkode.report.gradients import training as gradient_training
from ntkode.report.limits import depth_limit, gaussianity, kernel_positivity, limit_claims, width_limit
from ntkode.report.tables.comparison import comparison, render
from ntkode.report.training import activation, activation_gradient, activation_polynomial, datasets, horizon
from ntkode.report.training import comparison as training
from ntkode.report.training import width as training_width

REPORTS: dict[str, StudyReport] = {
    "training": training.report,
    "width_limit": width_limit.report,
    "depth_limit": depth_limit.report,
    "gradient_accuracy": gradient_accuracy.report,
    "gradient_training": gradient_training.report,
    "gaussianity": gaussianity.report,
    "kernel_positivity": kernel_positivity.report,
}
"""By a study's name in conf/study: what any sweep of it shows."""

EXPERIMENTS: dict[str, StudyReport] = {
    "paper/training_width": training_width.report,
    "paper/activation": activation.report,
    "paper/activation_gradient": activation_gradient.report,
    "paper/activation_polynomial": activation_polynomial.report,
    "paper/horizon": horizon.report,
    "paper/datasets": datasets.report,
    "paper/depth_output": limit_claims.depth_output,
    "paper/depth_gradient": limit_claims.depth_gradient,
    "paper/gaussianity": gaussianity.paper,
    "paper/kernel_positivity": kernel_positivity.paper,
    "paper/width_ntk": limit_claims.width_ntk,
    "paper/width_nngp": limit_claims.width_nngp,
}
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
