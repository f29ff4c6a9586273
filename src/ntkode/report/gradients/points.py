"""What study=gradient_accuracy measured, in points: error, resolution and cost of each run."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ntkode.report.statistics.power_law import PowerLaw, fit_power_law
from ntkode.report.tables.labels import activation_labels, method_labels, numbers
from ntkode.results import Status

ERROR = "gradient/relative_error"
START, END = "at the start", "at the end"
# An error is known where it is so many times as large as the reference's own error, or as rounding.
KNOWN = 3.0
# Rounding of a gradient, in units of its dtype's, where it was not measured.
ROUNDING = 10.0

_RESOLUTION = re.compile(r"config\.(model\.)?solver\.(steps|rtol|atol)")
_STEPS, _TOLERANCE, _ATOL = "config.solver.steps", "config.solver.rtol", "config.solver.atol"
_COSTS = {"seconds": "cost/gradient_seconds", "memory": "cost/gradient_memory"}


@dataclass(frozen=True)
class Group:
    """Runs that differ in resolution and seed alone.

    Attributes:
        activation: its name and settings, as far as they tell it from others.
        method: solver, gradient method and whatever else differs; empty where nothing does.
    """

    activation: str
    method: str


def gradient_points(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a done run and moment, where an error was measured.

    Columns: `run_id`, `moment` (`START` or `END`), `activation` and `method` (see `Group`), `resolution`
    (`steps` or `tolerance`), `x` (the number of steps, or 1/tolerance), `seed`, `y` (the error), `known`
    (whether it and those of other
    seeds stand out from the reference's error and from rounding), `nfe`, `seconds`, `memory`.
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
            "seed": numbers(done, "config.seed").fillna(0),
            "y": error,
            "known": error > _floor(done, suffix),
            "nfe": numbers(done, f"cost/nfe_forward{suffix}") + numbers(done, f"cost/nfe_backward{suffix}"),
            **{name: numbers(done, f"{column}{suffix}") for name, column in _COSTS.items()},
        }
        # The first value and the last are one where a run did not train.
        trained = pd.Series(moment == START, done.index) | (numbers(done, "step") > 0)
        parts.append(pd.DataFrame(values)[np.isfinite(error) & trained])
    points = pd.concat(parts, ignore_index=True)
    # Where one seed is hidden, a median over the others would be too high.
    cells = points.groupby(["moment", "activation", "method", "x"])["known"]
    return points.assign(known=cells.transform("all").astype(bool))


def groups_of(points: pd.DataFrame) -> list[Group]:
    """The groups, in the order of their first points."""
    pairs = points[["activation", "method"]].drop_duplicates()
    return [Group(str(a), str(m)) for a, m in pairs.itertuples(index=False)]


def of_group(points: pd.DataFrame, group: Group) -> pd.DataFrame:
    """A group's points."""
    return points[(points["activation"] == group.activation) & (points["method"] == group.method)]


def fit_orders(points: pd.DataFrame, moment: str) -> dict[Group, PowerLaw]:
    """Error ≈ C x^(−order) of each group at the moment, by its known errors."""
    own = points[points["moment"] == moment]
    return {group: fit_power_law(of_group(own[own["known"]], group)) for group in groups_of(own)}


def _resolutions(runs: pd.DataFrame) -> list[str]:
    """The columns that hold a resolution, in the config's copies too."""
    named = [str(name) for name in runs if _RESOLUTION.fullmatch(str(name))]
    # An absolute tolerance of its own is a setting like others.
    tied = numbers(runs, _ATOL).equals(numbers(runs, _TOLERANCE))
    return [name for name in named if tied or not name.endswith("atol")]


def _floor(runs: pd.DataFrame, suffix: str) -> pd.Series:
    """The error up to which nothing is known."""
    dtypes = runs["config.dtype"] if "config.dtype" in runs else pd.Series("float64", runs.index)
    rounding = dtypes.map(lambda dtype: ROUNDING * float(np.finfo(dtype).eps))
    measured = (
        numbers(runs, f"{name}{suffix}") for name in ("gradient/reference_error", "gradient/part/rounding")
    )
    return pd.concat([rounding, *(KNOWN * column for column in measured)], axis=1).max(axis=1)
