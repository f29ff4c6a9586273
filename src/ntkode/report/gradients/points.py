"""The measurements of study=gradient_accuracy as points: error, resolution and cost of each run."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ntkode.report.statistics.power_law import PowerLaw, fit_power_law
from ntkode.report.statistics.replicates import replicate
from ntkode.report.tables.labels import activation_labels, method_labels, numbers
from ntkode.results import Status

ERROR = "gradient/relative_error"
START, END = "at the start", "at the end"
# An error is known if it is at least this multiple of the reference's error and of rounding.
KNOWN = 3.0
# Rounding error of a gradient if it was not measured, in machine epsilons of its dtype.
ROUNDING = 10.0

_RESOLUTION = re.compile(r"config\.(model\.)?solver\.(steps|rtol|atol)")
_STEPS, _TOLERANCE, _ATOL = "config.solver.steps", "config.solver.rtol", "config.solver.atol"
_COSTS = {"seconds": "cost/gradient_seconds", "memory": "cost/gradient_memory"}


@dataclass(frozen=True)
class Group:
    """Runs that differ in resolution and seed alone.

    Attributes:
        activation: its name, and the settings in which activations differ.
        method: solver, gradient method and other settings in which runs differ; empty if there are none.
    """

    activation: str
    method: str


def gradient_points(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per done run and moment with a measured error.

    Columns: `run_id`, `moment` (`START` or `END`), `activation` and `method` (see `Group`), `resolution`
    (`steps` or `tolerance`), `x` (the number of steps, or 1/tolerance), `seed`, `y` (the relative error),
    `known` (whether the errors of all seeds exceed the reference's error and rounding, see `KNOWN`), `nfe`,
    `seconds`, `memory` (MiB).
    """
    done = runs[runs["status"] == Status.DONE].reset_index(drop=True)
    activations, methods = activation_labels(runs), method_labels(runs, _resolutions(runs))
    fixed, tolerance = numbers(done, _STEPS), numbers(done, _TOLERANCE)
    parts = []
    for moment, suffix in ((START, ".first"), (END, "")):
        error = numbers(done, f"{ERROR}{suffix}")
        values = {
            "run_id": done["run_id"],
            "moment": moment,
            "activation": done["run_id"].map(activations),
            "method": done["run_id"].map(methods),
            "resolution": np.where(fixed.notna(), "steps", "tolerance"),
            "x": fixed.fillna(1 / tolerance),
            "seed": replicate(done),
            "y": error,
            "known": error > _floor(done, suffix),
            "nfe": numbers(done, f"cost/nfe_forward{suffix}") + numbers(done, f"cost/nfe_backward{suffix}"),
            **{name: numbers(done, f"{column}{suffix}") for name, column in _COSTS.items()},
        }
        # Without training, the last value repeats the first.
        trained = pd.Series(moment == START, done.index) | (numbers(done, "step") > 0)
        parts.append(pd.DataFrame(values)[np.isfinite(error) & trained])
    points = pd.concat(parts, ignore_index=True)
    # If one seed's error is unknown, the median over the others would be too high.
    known = points.groupby(["moment", "activation", "method", "x"])["known"]
    return points.assign(known=known.transform("all").astype(bool))


def groups_of(points: pd.DataFrame) -> list[Group]:
    """The groups in the order of their first points."""
    pairs = points[["activation", "method"]].drop_duplicates()
    return [Group(str(a), str(m)) for a, m in pairs.itertuples(index=False)]


def of_group(points: pd.DataFrame, group: Group) -> pd.DataFrame:
    """The points that belong to the group."""
    return points[(points["activation"] == group.activation) & (points["method"] == group.method)]


def fit_orders(points: pd.DataFrame, moment: str) -> dict[Group, PowerLaw]:
    """The fit error ≈ C x^(−order) to the known errors of each group at the moment."""
    at_moment = points[points["moment"] == moment]
    known = at_moment[at_moment["known"]]
    return {group: fit_power_law(of_group(known, group)) for group in groups_of(at_moment)}


def _resolutions(runs: pd.DataFrame) -> list[str]:
    """The columns of the resolution, including its copies in the config."""
    named = [str(name) for name in runs if _RESOLUTION.fullmatch(str(name))]
    # An absolute tolerance that differs from the relative one is a setting.
    tied = numbers(runs, _ATOL).equals(numbers(runs, _TOLERANCE))
    return [name for name in named if tied or not name.endswith("atol")]


def _floor(runs: pd.DataFrame, suffix: str) -> pd.Series:
    """The error up to which an error counts as unknown."""
    dtypes = runs["config.dtype"] if "config.dtype" in runs else pd.Series("float64", runs.index)
    rounding = dtypes.map(lambda dtype: ROUNDING * float(np.finfo(dtype).eps))
    measured = (
        numbers(runs, f"{name}{suffix}") for name in ("gradient/reference_error", "gradient/part/rounding")
    )
    return pd.concat([rounding, *(KNOWN * column for column in measured)], axis=1).max(axis=1)
