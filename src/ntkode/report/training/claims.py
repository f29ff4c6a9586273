"""The paper's claims about training that several studies share: convergence and a positive λ_min."""

import math

import pandas as pd

from ntkode.report.claims.claims import PAPER, Above, Claim
from ntkode.report.statistics.intervals import Mean, Statistic
from ntkode.report.statistics.replicates import value
from ntkode.report.tables.labels import numbers

RATE, GUARANTEED, EXCESS = "loss/decay_rate", "loss/guaranteed_rate", "rate over guaranteed"
SHARE = "lambda_min share"
LEAST_SHARE = 0.5
"""The convergence proof needs λ_min at or above this share of its initial value."""


HISTORY = ("loss/train", "loss/ratio", "loss/predicted_ratio", "ntk/lambda_min")
"""Columns of the history that the reports of training studies read."""


def with_ratios(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The runs with columns `EXCESS` and `SHARE`.

    `EXCESS` is the decay rate over the last window divided by the guaranteed rate; NaN if none is guaranteed
    because the kernel is singular or the step too large. `SHARE` is the smallest λ_min of the probe's kernel
    after the start divided by that at the start; 0 if one of the two is within its resolution.

    Args:
        runs: what `ntkode.results.load` returns.
        history: what `ntkode.results.load_history` returns for these runs.
    """
    guaranteed = numbers(runs, GUARANTEED)
    excess = numbers(runs, RATE) / guaranteed.where(guaranteed > 0, math.nan)
    later, start = history[history["step"] > 0], numbers(runs, "ntk/lambda_min.first")
    least = runs["run_id"].map(numbers(later, "ntk/lambda_min").groupby(later["run_id"]).min()).astype(float)
    unseen = numbers(runs, "ntk/lambda_min.min") <= numbers(runs, "ntk/resolution.max")
    return runs.assign(**{EXCESS: excess, SHARE: (least / start).mask(unseen, 0.0)})


def converges(name: str, subject: str, excess: Statistic, needs: str) -> Claim:
    """The claim that gradient descent converges linearly, at least at the guaranteed rate.

    Args:
        name: of the claim.
        subject: the start of the statement, such as `tanh: `.
        excess: a statistic of the column `EXCESS`.
        needs: a description of the runs that it needs.
    """
    return Claim(
        f"{name}_linear_convergence",
        f"{subject}the loss converges linearly: at the end, at least at the guaranteed rate",
        PAPER,
        "decay rate over the last window / −2 log(1 − η λ_min)",
        Mean(excess, needs),  # no logarithm: the rate of a growing loss is negative
        Above(1.0),
    )


def stays_positive(name: str, subject: str, share: Statistic, needs: str) -> Claim:
    """The claim that λ_min stays above `LEAST_SHARE` of its initial value.

    Args:
        name: of the claim.
        subject: the start of the statement, such as `tanh: `.
        share: a statistic of the column `SHARE`.
        needs: a description of the runs that it needs.
    """
    return Claim(
        f"{name}_lambda_min",
        f"{subject}the NTK's λ_min stays above half its initial value throughout training",
        PAPER,
        "least λ_min after the start / λ_min at the start (probe)",
        Mean(share, needs),
        Above(LEAST_SHARE),
    )


def least(column: str, runs: pd.DataFrame, by: str, where: dict[str, object]) -> Statistic:
    """The minimum of the column over the values of the column `by`, in each replicate."""
    cases = list(runs[by].dropna().unique()) if by in runs else []

    def minima(runs: pd.DataFrame) -> pd.Series:
        values = [value(column, {**where, by: case})(runs) for case in cases]
        return pd.concat(values, axis=1).min(axis=1, skipna=False) if values else pd.Series(dtype=float)

    return minima
