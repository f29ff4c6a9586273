"""The report of study=depth_limit: errors of a ResNet relative to the Neural ODE, as powers of depth L."""

from pathlib import Path

import pandas as pd

from ntkode.report.base import Report
from ntkode.report.limits.scaling import Quantity, Scaling, scaling_report
from ntkode.report.tables.comparison import Column

SCALING = Scaling(
    name="depth_limit",
    size="config.model.depth",
    size_name="depth",
    xlabel="depth $L$",
    quantities=(
        Quantity(
            "output/relative_error",
            "output error",
            "output\nerror",
            "Outputs of the ResNet against the Neural ODE's",
            r"$\|f_L - f\|_F\,/\,\|f\|_F$",
            -1.0,
        ),
        Quantity(
            "ntk/discrete_error",
            "NTK error",
            "NTK\nerror",
            "NTK of the ResNet against the Neural ODE's",
            r"$\|\Theta_L - \Theta\|_F\,/\,\|\Theta\|_F$",
            -1.0,
        ),
        Quantity(
            "gradient/discrete_error",
            "gradient error, discretise then optimise",
            "gradient\ndiscretise",
            "Loss gradient: discretise, then optimise",
            r"$\|\nabla\mathcal{L}_L - \nabla\mathcal{L}\|\,/\,\|\nabla\mathcal{L}\|$",
            -1.0,
        ),
        Quantity(
            "gradient/adjoint_error",
            "gradient error, optimise then discretise",
            "gradient\nadjoint",
            "Loss gradient: optimise, then discretise (adjoint)",
            r"$\|g_L - \nabla\mathcal{L}\|\,/\,\|\nabla\mathcal{L}\|$",
            -1.0,
        ),
    ),
    others=(
        Column("gradient/reference_error", "reference error", ""),
        Column("output/kink_flips", "kink flips", ""),
        Column("reference_steps", "reference steps", ""),
        Column("cost/run_seconds", "seconds", ""),
    ),
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The tables `depth_limit` and `depth_limit_slopes`, and the figure (see `scaling_report`)."""
    return scaling_report(runs, SCALING)
