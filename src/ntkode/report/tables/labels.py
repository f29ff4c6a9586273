"""Runs told apart by activation, and by all else: two labels in place of one."""

import math
import re
from collections.abc import Collection

import pandas as pd

from ntkode.report.tables.comparison import labels

_ACTIVATION = re.compile(r"config\.(choices\.|model\.)?activation(\..+)?")
_METHOD = re.compile(r"config\.(choices\.|model\.)?(solver|gradient)([.@].*)?")
_SEEDS = ("config.seed", "config.dataset.seed")


def activation_labels(runs: pd.DataFrame) -> dict[str, str]:
    """By run_id: the activation, and those of its settings in which runs differ."""
    named = labels(runs[["run_id", *(name for name in _config(runs) if _ACTIVATION.fullmatch(name))]])
    chosen = _chosen(runs, ("activation",))
    # Where all have one activation, `labels` tells the settings alone.
    return {
        run_id: label if label.startswith(chosen[run_id]) else f"{chosen[run_id]}, {label}"
        for run_id, label in named.items()
    }


def method_labels(runs: pd.DataFrame, ignored: Collection[str] = ()) -> dict[str, str]:
    """By run_id: all in which runs differ but activation and seeds; solver and gradient where nothing does.

    Args:
        runs: what `ntkode.results.load` returns.
        ignored: further columns that do not count.
    """
    told = [name for name in _config(runs) if not _ACTIVATION.fullmatch(name)]
    named = labels(runs[["run_id", *(name for name in told if name not in (*_SEEDS, *ignored))]])
    chosen = _chosen(runs, ("solver", "gradient"))
    # Where nothing differs, `labels` falls back on the run's id.
    return {run_id: chosen[run_id] if label == run_id else label for run_id, label in named.items()}


def problem_labels(runs: pd.DataFrame) -> dict[str, str]:
    """By run_id: all in which runs differ but activation, seeds, solver and gradient; or nothing."""
    named = labels(runs[["run_id", *problem_columns(runs)]])
    return {run_id: "" if label == run_id else label for run_id, label in named.items()}


def problem_columns(runs: pd.DataFrame) -> list[str]:
    """The config's columns that hold neither activation, seeds, solver nor gradient."""
    told = (name for name in _config(runs) if name not in _SEEDS)
    return [name for name in told if not _ACTIVATION.fullmatch(name) and not _METHOD.fullmatch(name)]


def numbers(runs: pd.DataFrame, name: str) -> pd.Series:
    """A column of numbers, NaN where there is none."""
    return runs[name].astype(float) if name in runs else pd.Series(math.nan, runs.index)


def _chosen(runs: pd.DataFrame, groups: Collection[str]) -> dict[str, str]:
    """By run_id: the choices of these groups, as far as the config stores them."""
    columns = [f"config.choices.{group}" for group in groups if f"config.choices.{group}" in runs]
    told = (", ".join(row.dropna().astype(str)) for _, row in runs[columns].iterrows())
    return dict(zip(runs["run_id"], told, strict=True))


def _config(runs: pd.DataFrame) -> list[str]:
    return [str(name) for name in runs if str(name).startswith("config.")]
