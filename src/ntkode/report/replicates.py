"""Measures for claims: from runs to one value a replicate, which is a pair of seeds.

A replicate is what is drawn anew together: the seed of the initialisation and that of the data. Every
function gives a Series whose index names the replicates of the runs it was given; a replicate whose run
failed is there, as NaN.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ntkode.report.evidence import Measure
from ntkode.report.slopes import fit_power_law
from ntkode.results import Status

_SEED, _DATA_SEED = "config.seed", "config.dataset.seed"


def chosen(runs: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The runs whose columns have these values; none where there is no such column.

    Args:
        runs: what `ntkode.results.load` returns.
        where: by column, such as `{"config.choices.activation": "tanh"}`, the value.
    """
    for column, value in where.items():
        runs = runs[runs[column] == value] if column in runs else runs.iloc[:0]
    return runs


def replicate(runs: pd.DataFrame) -> pd.Series:
    """The name of each run's replicate, `seed 0`, or `seed 0, data 1` where the data's seeds differ."""
    named = pd.Series("seed ", runs.index) + runs[_SEED].astype(str)
    if _DATA_SEED in runs and runs[_DATA_SEED].nunique() > 1:
        named += ", data " + runs[_DATA_SEED].astype(str)
    return named


def of_each(measure: Callable[[pd.DataFrame], float], where: Mapping[str, Any]) -> Measure:
    """`measure` of the runs of each replicate among those chosen by `where`."""

    def measured(runs: pd.DataFrame) -> pd.Series:
        own = chosen(runs, where)
        groups = own.groupby(replicate(own), sort=False) if len(own) else ()
        return pd.Series({name: measure(group) for name, group in groups}, dtype=float)

    return measured


def value(column: str, where: Mapping[str, Any]) -> Measure:
    """The column's mean over a replicate's runs, NaN unless all are done and have it."""
    return of_each(lambda runs: float(done_values(runs, column).mean(skipna=False)), where)


def slope(column: str, size: str, where: Mapping[str, Any]) -> Measure:
    """The exponent of the column as a power of `size`, fitted to a replicate's runs (see `fit_power_law`).

    NaN where a run failed or has no positive value, and none of a replicate with fewer than two sizes.
    """

    def exponent(runs: pd.DataFrame) -> float:
        y = done_values(runs, column)
        if not (y > 0).all():
            return math.nan
        points = pd.DataFrame({"x": runs[size].astype(float), "y": y, "seed": 0})
        return fit_power_law(points).slope

    def measured(runs: pd.DataFrame) -> pd.Series:
        own = chosen(runs, where)
        if size not in own or own[size].nunique() < 2:
            return pd.Series(dtype=float)
        return of_each(exponent, {})(own)

    return measured


def ratio(numerator: Measure, denominator: Measure) -> Measure:
    """One measure over the other, replicate by replicate (paired); NaN where either is missing."""
    return lambda runs: numerator(runs) / denominator(runs)


def difference(first: Measure, second: Measure) -> Measure:
    """The first measure less the second, replicate by replicate (paired); NaN where either is missing."""
    return lambda runs: first(runs) - second(runs)


def done_values(runs: pd.DataFrame, column: str) -> pd.Series:
    """The column as floats, NaN where a run is not done or has no such value."""
    if column not in runs:
        return pd.Series(math.nan, runs.index)
    values = pd.to_numeric(runs[column], errors="coerce").astype(float)
    return values.where(np.asarray(runs["status"] == Status.DONE))
