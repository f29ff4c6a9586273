"""The report of study=width_limit: distances to the infinite-width limit, as powers of the width n."""

from pathlib import Path

import pandas as pd

from ntkode.report.base import Report
from ntkode.report.limits.scaling import Quantity, Scaling, scaling_report
from ntkode.report.tables.comparison import Column

_TRAINED, _DRIFT = "ntk/limit_distance.trained", "ntk/drift.trained"

SCALING = Scaling(
    name="width_limit",
    size="config.model.width",
    size_name="width",
    xlabel="width $n$",
    same=("config.choices.width", "config.width"),
    quantities=(
        Quantity(
            "ntk/limit_distance.first",
            "NTK distance",
            "NTK\ndistance",
            "NTK against its limit, at initialisation",
            r"$\|\Theta_n - \Theta_\infty\|_F\,/\,\|\Theta_\infty\|_F$",
            -0.5,
        ),
        Quantity(
            "nngp/limit_distance.first",
            "NNGP distance",
            "NNGP\ndistance",
            "NNGP kernel against its limit, at initialisation",
            r"$\|K_n - K_\infty\|_F\,/\,\|K_\infty\|_F$",
            -0.5,
        ),
        Quantity(
            _TRAINED,
            "NTK distance after training",
            "NTK distance\ntrained",
            "NTK against its limit, after training",
            r"$\|\Theta_n(k) - \Theta_\infty\|_F\,/\,\|\Theta_\infty\|_F$",
            -0.5,
        ),
        # The bound is n^(-1/2), measurements are closer to 1/n (Lee et al. 2019, arXiv 1902.06720, figure 1):
        # a unit moves by O(n^(-1/2)) with the sign of its v, so that the mean over units moves by O(1/n).
        Quantity(
            _DRIFT,
            "drift",
            "NTK\ndrift",
            "Change of the NTK in training",
            r"$\|\Theta_n(k) - \Theta_n(0)\|_F\,/\,\|\Theta_n(0)\|_F$",
            -1.0,
        ),
    ),
    others=(
        Column("ntk/lambda_min.first", "lambda_min NTK", ""),
        Column("ntk/limit_lambda_min", "lambda_min NTK limit", ""),
        Column("nngp/lambda_min.first", "lambda_min NNGP", ""),
        Column("nngp/limit_lambda_min", "lambda_min NNGP limit", ""),
        Column("loss/ratio", "loss ratio", ""),
        Column("cost/run_seconds", "seconds", ""),
    ),
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The tables `width_limit` and `width_limit_slopes`, and the figure (see `scaling_report`)."""
    return scaling_report(_with_trained(runs), SCALING)


def _with_trained(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the columns of values after training, NaN if a run did not train."""
    if "step" not in runs:
        return runs
    trained = runs["step"] > 0
    columns = {_TRAINED: "ntk/limit_distance", _DRIFT: "ntk/drift"}
    return runs.assign(**{new: runs[old].where(trained) for new, old in columns.items() if old in runs})
