"""The report of each study and experiment, by name."""

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
"""The report by name of a study in conf/study."""

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
"""The report by name of an experiment in conf/experiment; it replaces the report of the study."""

STUDY, EXPERIMENT = "config.choices.study", "config.choices.experiment"


def reports(runs: pd.DataFrame, results_dir: Path) -> Iterator[Report]:
    """The reports of the experiments and studies of these runs, in the order of the runs.

    An experiment that is not in `EXPERIMENTS` gets the report of its study. A run whose config names no study
    belongs to study `training`. A study that is not in `REPORTS` gets the comparison of its runs.

    Args:
        runs: what `ntkode.results.load` returns.
        results_dir: the results folder.
    """
    names = runs[STUDY].fillna("training") if STUDY in runs else pd.Series("training", runs.index)
    if EXPERIMENT in runs:
        names = runs[EXPERIMENT].where(runs[EXPERIMENT].isin([*EXPERIMENTS]), names)
    for name in names.unique():
        yield report_of(name)(runs[names == name].reset_index(drop=True), results_dir)


def report_of(name: str) -> StudyReport:
    """The report of the experiment or study of this name in conf/; a plain comparison for other names."""
    return EXPERIMENTS.get(name) or REPORTS.get(name) or partial(_plain, name)


def _plain(study: str, runs: pd.DataFrame, results_dir: Path) -> Report:
    table = comparison(runs)
    return Report(study, {study: table}, render(table))
