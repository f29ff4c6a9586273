"""Measures for claims: from runs to one value a replicate, which is a pair of seeds.

A replicate is what is drawn anew together: the seed of the initialisation and that of the data. Every
function gives a Series whose index names the replicates of the runs it was given; a replicate whose run
failed is there, as NaN.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ntkode.report.statistics.intervals import Statistic
from ntkode.report.statistics.power_law import fit_power_law
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


def by_activation(name: str) -> dict[str, Any]:
    """For `where`: the runs of this choice of activation."""
    return {"config.choices.activation": name}


def replicate(runs: pd.DataFrame) -> pd.Series:
    """The name of each run's replicate, `seed 0`, or `seed 0, data 1` where the data's seeds differ."""
    named = pd.Series("seed ", runs.index) + runs[_SEED].astype(str)
    if _DATA_SEED in runs and runs[_DATA_SEED].nunique() > 1:
        named += ", data " + runs[_DATA_SEED].astype(str)
    return named


def of_each(measure: Callable[[pd.DataFrame], float], where: Mapping[str, Any]) -> Statistic:
    """`measure` of the runs of each replicate among those chosen by `where`."""

    def measured(runs: pd.DataFrame) -> pd.Series:
        own = chosen(runs, where)
        groups = own.groupby(replicate(own), sort=False) if len(own) else ()
        return pd.Series({name: measure(group) for name, group in groups}, dtype=float)

    return measured


def value(column: str, where: Mapping[str, Any]) -> Statistic:
    """The column's mean over a replicate's runs, NaN unless all are done and have it."""
    return of_each(lambda runs: float(done_values(runs, column).mean(skipna=False)), where)


def at(pick: Callable[[pd.Series], float], size: str, column: str, where: Mapping[str, Any]) -> Statistic:
    """The column's value where `size` is the one that `pick` (`min`, `max`) takes of all chosen runs'."""

    def measured(runs: pd.DataFrame) -> pd.Series:
        own = chosen(runs, where)
        if size not in own or own.empty:
            return pd.Series(dtype=float)
        return value(column, {size: pick(own[size])})(own)

    return measured


def slope(
    column: str, size: str, where: Mapping[str, Any], *, apart: Sequence[str] = (), least: float = 0.0
) -> Statistic:
    """The exponent of the column as a power of `size`, fitted to a replicate's runs (see `fit_power_law`).

    NaN where a run failed or has no positive value. Without two sizes there is no replicate.

    Args:
        column: what falls or grows.
        size: the column that holds the size.
        where: see `chosen`.
        apart: columns by whose values a replicate's runs are fitted apart; their exponents are averaged.
        least: sizes below it are left out, where a law of large sizes has not set in.
    """

    def exponent(runs: pd.DataFrame) -> float:
        y = done_values(runs, column)
        if not (y > 0).all():
            return math.nan
        points = pd.DataFrame({"x": runs[size].astype(float), "y": y, "seed": 0})
        groups = points.groupby([runs[name] for name in apart]) if apart else [((), points)]
        return float(np.mean([fit_power_law(group).slope for _, group in groups]))

    def measured(runs: pd.DataFrame) -> pd.Series:
        own = chosen(runs, where)
        if not {size, *apart} <= set(own):
            return pd.Series(dtype=float)
        own = own[own[size] >= least]
        return of_each(exponent, {})(own) if own[size].nunique() >= 2 else pd.Series(dtype=float)

    return measured


def mean_log_ratio(columns: tuple[str, str], where: Mapping[str, Any]) -> Statistic:
    """Mean over a replicate's runs of log(first column/second column), NaN unless all are positive."""

    def measured(runs: pd.DataFrame) -> float:
        above, below = (done_values(runs, column) for column in columns)
        if not ((above > 0) & (below > 0)).all():
            return math.nan
        return float(np.log(above / below).mean())

    return of_each(measured, where)


def mean_ratio(columns: tuple[str, str], first: Mapping[str, Any], second: Mapping[str, Any]) -> Statistic:
    """The geometric mean of a ratio of columns over the runs chosen by `first`, over that of `second`.

    Paired by replicate. Both are to have the same grid of sizes.
    """
    logs = difference(mean_log_ratio(columns, first), mean_log_ratio(columns, second))
    return lambda runs: logs(runs).map(np.exp)


def ratio(numerator: Statistic, denominator: Statistic) -> Statistic:
    """One measure over the other, replicate by replicate (paired); NaN where either is missing."""
    return lambda runs: numerator(runs) / denominator(runs)


def difference(first: Statistic, second: Statistic) -> Statistic:
    """The first measure less the second, replicate by replicate (paired); NaN where either is missing."""
    return lambda runs: first(runs) - second(runs)


def done_values(runs: pd.DataFrame, column: str) -> pd.Series:
    """The column as floats, NaN where a run is not done or has no such value."""
    if column not in runs:
        return pd.Series(math.nan, runs.index)
    values = pd.to_numeric(runs[column], errors="coerce").astype(float)
    return values.where(np.asarray(runs["status"] == Status.DONE))
