"""Runs told apart by activation, and by all else: two labels in place of one."""

import math
import re
from collections.abc import Collection

import pandas as pd

from ntkode.report.tables import labels

_ACTIVATION = re.compile(r"config\.(choices\.|model\.)?activation(\..+)?")
_SEEDS = ("config.seed", "config.dataset.seed")


def activation_labels(runs: pd.DataFrame) -> dict[str, str]:
    """By run_id: the activation and its settings, as far as runs differ in them; its name if in none."""
    return labels(runs[["run_id", *(name for name in _config(runs) if _ACTIVATION.fullmatch(name))]])


def method_labels(runs: pd.DataFrame, ignored: Collection[str] = ()) -> dict[str, str]:
    """By run_id: all in which runs differ but activation and seeds; empty where nothing does.

    Args:
        runs: what `ntkode.results.load` returns.
        ignored: further columns that do not count.
    """
    told = [name for name in _config(runs) if not _ACTIVATION.fullmatch(name)]
    named = labels(runs[["run_id", *(name for name in told if name not in (*_SEEDS, *ignored))]])
    # Where nothing differs, `labels` falls back on the run's id.
    return {run_id: "" if label == run_id else label for run_id, label in named.items()}


def numbers(runs: pd.DataFrame, name: str) -> pd.Series:
    """A column of numbers, NaN where there is none."""
    return runs[name].astype(float) if name in runs else pd.Series(math.nan, runs.index)


def _config(runs: pd.DataFrame) -> list[str]:
    return [str(name) for name in runs if str(name).startswith("config.")]
