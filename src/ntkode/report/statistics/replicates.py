"""Statistics for claims: from runs to one value per replicate.

A replicate is a pair of seeds: of the initialisation and of the data. Each statistic returns a Series whose
index names the replicates among its runs; a replicate with a failed run is included as NaN.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ntkode.report.statistics.intervals import Statistic
from ntkode.report.statistics.power_law import fit_exponent
from ntkode.results import Status

_SEED, _DATA_SEED = "config.seed", "config.dataset.seed"


def select(runs: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The runs whose columns have these values; no runs if a column does not exist.

    Args:
        runs: what `ntkode.results.load` returns.
        where: the value by column, such as `{"config.choices.activation": "tanh"}`.
    """
    for column, value in where.items():
        runs = runs[runs[column] == value] if column in runs else runs.iloc[:0]
    return runs


def by_activation(name: str) -> dict[str, Any]:
    """A value for `where` that selects the runs with this activation."""
    return {"config.choices.activation": name}


def replicate(runs: pd.DataFrame) -> pd.Series:
    """The replicate of each run by name: `seed 0, data 1`, or `seed 0` for runs without a data seed.

    The name depends on the run alone: statistics of different selections pair replicates by name.
    """
    named = "seed " + _texts(runs.get(_SEED, pd.Series(0, runs.index)))
    if _DATA_SEED in runs:
        named += (", data " + _texts(runs[_DATA_SEED])).where(runs[_DATA_SEED].notna(), "")
    return named


def _texts(seeds: pd.Series) -> pd.Series:
    """Seeds as text; a failed run may have any value, and one missing value turns integers into floats."""

    def text(seed: Any) -> str:
        return str(int(seed)) if isinstance(seed, float) and seed.is_integer() else str(seed)

    return seeds.map(text).astype(str)


def of_each(
    measure: Callable[[pd.DataFrame], float],
    where: Mapping[str, Any],
    columns: Collection[str] | None = None,
) -> Statistic:
    """`measure` of the runs of each replicate, among the runs that `where` selects.

    Args:
        measure: maps runs to a number.
        where: see `select`.
        columns: the columns that `measure` reads; all by default, which takes most of the time of a report.
    """

    def measured(runs: pd.DataFrame) -> pd.Series:
        selected = select(runs, where)
        read = selected if columns is None else selected[[name for name in selected if name in columns]]
        groups = read.groupby(replicate(selected), sort=False) if len(selected) else ()
        return pd.Series({name: measure(group) for name, group in groups}, dtype=float)

    return measured


def value(column: str, where: Mapping[str, Any]) -> Statistic:
    """The mean of the column over the runs of each replicate; NaN unless all are done and have a value."""
    return of_each(
        lambda runs: float(done_values(runs, column).mean(skipna=False)), where, (column, "status")
    )


def at(pick: Callable[[pd.Series], float], size: str, column: str, where: Mapping[str, Any]) -> Statistic:
    """The column's value at one size, which `pick` (`min` or `max`) takes from the selected runs."""

    def measured(runs: pd.DataFrame) -> pd.Series:
        selected = select(runs, where)
        if size not in selected or selected.empty:
            return pd.Series(dtype=float)
        return value(column, {size: pick(selected[size])})(selected)

    return measured


def slope(
    column: str, size: str, where: Mapping[str, Any], *, apart: Sequence[str] = (), least: float = 0.0
) -> Statistic:
    """The exponent p in column ≈ C size^p, fitted to the runs of each replicate (see `fit_exponent`).

    NaN if a run failed or a value is not positive. An empty Series if there are fewer than two sizes.

    Args:
        column: the column of y.
        size: the column of x.
        where: see `select`.
        apart: columns that split a replicate's runs into separate fits; their exponents are averaged.
        least: the smallest size of the fit, for laws that hold for large sizes only.
    """

    def exponent(runs: pd.DataFrame) -> float:
        y = done_values(runs, column)
        if not (y > 0).all():
            return math.nan
        points = pd.DataFrame({"x": runs[size].astype(float), "y": y})
        groups = points.groupby([runs[name] for name in apart]) if apart else [((), points)]
        return float(np.mean([fit_exponent(group["x"], group["y"]) for _, group in groups]))

    def measured(runs: pd.DataFrame) -> pd.Series:
        selected = select(runs, where)
        if not {size, *apart} <= set(selected):
            return pd.Series(dtype=float)
        fitted = selected[selected[size] >= least]
        return (
            of_each(exponent, {}, (column, size, *apart, "status"))(fitted)
            if fitted[size].nunique() >= 2
            else pd.Series(dtype=float)
        )

    return measured


def mean_log_ratio(columns: tuple[str, str], where: Mapping[str, Any]) -> Statistic:
    """The mean of log(first/second column) over the runs of each replicate; NaN unless all are positive."""

    def measured(runs: pd.DataFrame) -> float:
        numerator, denominator = (done_values(runs, column) for column in columns)
        if not ((numerator > 0) & (denominator > 0)).all():
            return math.nan
        return float(np.log(numerator / denominator).mean())

    return of_each(measured, where, (*columns, "status"))


def mean_ratio(columns: tuple[str, str], first: Mapping[str, Any], second: Mapping[str, Any]) -> Statistic:
    """exp(m₁ − m₂), where m₁ and m₂ are `mean_log_ratio` of the runs that `first` and `second` select.

    Paired by replicate. Both selections must have the same grid of sizes.
    """
    logs = difference(mean_log_ratio(columns, first), mean_log_ratio(columns, second))
    return lambda runs: logs(runs).map(np.exp)


def ratio(numerator: Statistic, denominator: Statistic) -> Statistic:
    """numerator/denominator, paired by replicate; NaN if either is missing."""
    return lambda runs: numerator(runs) / denominator(runs)


def difference(first: Statistic, second: Statistic) -> Statistic:
    """first − second, paired by replicate; NaN if either is missing."""
    return lambda runs: first(runs) - second(runs)


def done_values(runs: pd.DataFrame, column: str) -> pd.Series:
    """The column as floats; NaN if the run is not done or has no value."""
    if column not in runs:
        return pd.Series(math.nan, runs.index)
    values = pd.to_numeric(runs[column], errors="coerce").astype(float)
    return values.where(np.asarray(runs["status"] == Status.DONE))
