"""What the paper says of training, as measures that several studies share: convergence and a positive NTK."""

import math

import pandas as pd

from ntkode.report.claims.claims import PAPER, Above, Claim
from ntkode.report.statistics.intervals import Mean, Statistic
from ntkode.report.statistics.replicates import value
from ntkode.report.tables.labels import numbers

RATE, GUARANTEED, EXCESS = "loss/decay_rate", "loss/guaranteed_rate", "rate over guaranteed"
SHARE = "lambda_min share"
LEAST_SHARE = 0.5
"""The share of its start under which λ_min may not fall: what the convergence proof needs."""


def with_ratios(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The runs with columns `EXCESS` and `SHARE`.

    `EXCESS` is the decay rate over the last window by the guaranteed one, NaN where the kernel is singular or
    the step too large, so that nothing is guaranteed. `SHARE` is the least λ_min of the probe's kernel after
    the start by that at the start, and 0 where one of the two is within its resolution.

    Args:
        runs: what `ntkode.results.load` returns.
        history: of the runs.
    """
    guaranteed = numbers(runs, GUARANTEED)
    excess = numbers(runs, RATE) / guaranteed.where(guaranteed > 0, math.nan)
    later, start = history[history["step"] > 0], numbers(runs, "ntk/lambda_min.first")
    least = runs["run_id"].map(numbers(later, "ntk/lambda_min").groupby(later["run_id"]).min()).astype(float)
    unseen = numbers(runs, "ntk/lambda_min.min") <= numbers(runs, "ntk/resolution.max")
    return runs.assign(**{EXCESS: excess, SHARE: (least / start).mask(unseen, 0.0)})


def converges(name: str, told: str, excess: Statistic, needs: str) -> Claim:
    """Gradient descent converges linearly: the loss still falls at the guaranteed rate or faster.

    Args:
        name: of the claim.
        told: whose loss it is, such as `tanh: `.
        excess: made of `EXCESS`.
        needs: which runs it takes.
    """
    return Claim(
        f"{name}_linear_convergence",
        f"{told}the loss falls linearly: at the end still at the guaranteed rate or faster",
        PAPER,
        "decay rate over the last window / −2 log(1 − η λ_min)",
        Mean(excess, needs),  # no logarithms: the rate of a loss that grows is negative, and counts
        Above(1.0),
    )


def stays_positive(name: str, told: str, share: Statistic, needs: str) -> Claim:
    """λ_min stays bounded away from zero: see `LEAST_SHARE`.

    Args:
        name: of the claim.
        told: whose kernel it is.
        share: made of `SHARE`.
        needs: which runs it takes.
    """
    return Claim(
        f"{name}_lambda_min",
        f"{told}the NTK's λ_min stays above half of its start throughout training",
        PAPER,
        "least λ_min after the start / λ_min at the start (probe)",
        Mean(share, needs),
        Above(LEAST_SHARE),
    )


def least(column: str, runs: pd.DataFrame, by: str, where: dict[str, object]) -> Statistic:
    """The least of the column's values over what `by` names, in each replicate."""
    cases = list(runs[by].dropna().unique()) if by in runs else []

    def measured(those: pd.DataFrame) -> pd.Series:
        values = [value(column, {**where, by: case})(those) for case in cases]
        return pd.concat(values, axis=1).min(axis=1, skipna=False) if values else pd.Series(dtype=float)

    return measured
