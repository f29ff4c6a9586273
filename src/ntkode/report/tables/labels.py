"""Two labels of a run: its activation, and the other settings in which the runs differ."""

import math
import re
from collections.abc import Collection

import pandas as pd

from ntkode.report.tables.comparison import labels

_ACTIVATION = re.compile(r"config\.(choices\.|model\.)?activation(\..+)?")
_METHOD = re.compile(r"config\.(choices\.|model\.)?(solver|gradient)([.@].*)?")
_SEEDS = ("config.seed", "config.dataset.seed")


def activation_labels(runs: pd.DataFrame) -> dict[str, str]:
    """The activation of each run by run_id, with those of its settings in which the runs differ."""
    named = labels(runs[["run_id", *(name for name in _config(runs) if _ACTIVATION.fullmatch(name))]])
    choices = _choices(runs, ("activation",))
    # If all runs share one activation, `labels` contains its settings alone.
    return {
        run_id: label if label.startswith(choices[run_id]) else f"{choices[run_id]}, {label}"
        for run_id, label in named.items()
    }


def method_labels(runs: pd.DataFrame, ignored: Collection[str] = ()) -> dict[str, str]:
    """The settings of each run by run_id, except activation and seeds, in which the runs differ.

    Solver and gradient if the runs differ in nothing else.

    Args:
        runs: what `ntkode.results.load` returns.
        ignored: further columns to leave out.
    """
    columns = [name for name in _config(runs) if not _ACTIVATION.fullmatch(name)]
    named = labels(runs[["run_id", *(name for name in columns if name not in (*_SEEDS, *ignored))]])
    choices = _choices(runs, ("solver", "gradient"))
    # If nothing differs, `labels` returns the run's id.
    return {run_id: choices[run_id] if label == run_id else label for run_id, label in named.items()}


def problem_labels(runs: pd.DataFrame) -> dict[str, str]:
    """As `method_labels`, without solver and gradient; an empty label if nothing differs."""
    named = labels(runs[["run_id", *problem_columns(runs)]])
    return {run_id: "" if label == run_id else label for run_id, label in named.items()}


def problem_columns(runs: pd.DataFrame) -> list[str]:
    """The `config.…` columns except those of activation, seeds, solver and gradient."""
    names = (name for name in _config(runs) if name not in _SEEDS)
    return [name for name in names if not _ACTIVATION.fullmatch(name) and not _METHOD.fullmatch(name)]


def numbers(runs: pd.DataFrame, name: str) -> pd.Series:
    """The column `name` of the runs as floats; NaN if there is none."""
    return runs[name].astype(float) if name in runs else pd.Series(math.nan, runs.index)


def _choices(runs: pd.DataFrame, groups: Collection[str]) -> dict[str, str]:
    """The choices of these config groups by run_id, comma-separated, as far as the config stores them."""
    columns = [f"config.choices.{group}" for group in groups if f"config.choices.{group}" in runs]
    choices = (", ".join(row.dropna().astype(str)) for _, row in runs[columns].iterrows())
    return dict(zip(runs["run_id"], choices, strict=True))


def _config(runs: pd.DataFrame) -> list[str]:
    return [str(name) for name in runs if str(name).startswith("config.")]
