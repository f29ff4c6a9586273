"""Rules from evidence to choices: the tolerated gradient error, and the cheapest solve within it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ntkode import activations
from ntkode.activations import Activation
from ntkode.advice.advice_data import AdviceData, StoredError
from ntkode.advice.prediction import Candidate

# Relative change of the final loss that defines the tolerated gradient error.
CHANGE = 0.01


@dataclass(frozen=True)
class Reason:
    """One choice with its rule and evidence.

    Attributes:
        choice: name of the choice, such as `width`.
        value: its value.
        rule: the rule that gives the value.
        evidence: the numbers and runs behind it.
        caveat: why the evidence is weak; empty if it is not.
    """

    choice: str
    value: str
    rule: str
    evidence: str
    caveat: str = ""


@dataclass(frozen=True)
class SolveSettings:
    """A solver, its steps and a gradient method.

    Attributes:
        row: the measurement that gives solver, steps and expected error.
        gradient: the gradient method, as in conf/gradient.
        cost: forward evaluations times the gradient method's time relative to backprop.
        caveat: why the measurement is weak evidence; empty if it is not.
    """

    row: StoredError
    gradient: str
    cost: float
    caveat: str


def bearable(evidence: AdviceData) -> tuple[float, str]:
    """The largest gradient error that changes no measured activation's final loss by more than 1 %.

    Returns:
        The error, and the measurements behind it as text.

    Raises:
        ValueError: the evidence holds no tolerated error.
    """
    rows = [row for row in evidence.tolerated if row.change == CHANGE and row.enough > 0]
    if not rows:
        raise ValueError(
            "the evidence holds no tolerated gradient error: leave evidence= out, or write the file with "
            "make evidence"
        )
    measured = "; ".join(
        f"{row.activation}: {row.enough:.2g}"
        + (f" ({row.too_much:.2g} is too large)" if row.too_much > 0 else " (the largest tried)")
        for row in rows
    )
    runs, datasets = sum(row.runs for row in rows), ", ".join(sorted({row.dataset for row in rows}))
    return min(row.enough for row in rows), f"{measured} ({runs} runs on {datasets})"


def longest(evidence: AdviceData) -> float:
    """The largest σ_w·T at which gradients were measured."""
    return max((row.gamma for row in evidence.gradient), default=0.0)


def cheapest_solve(evidence: AdviceData, candidate: Candidate, bound: float) -> SolveSettings | None:
    """The cheapest measured solve with a gradient error of at most `bound`; None if there is none.

    The error at σ_w·T is the larger one of the nearest measured horizons below and above. An activation that
    was not measured at such long horizons takes, setting by setting, the largest error of the activations
    that were, in its smoothness class or the next rougher one.
    """
    rows, stand_in = _rows_of(evidence, candidate)
    costs = {cost.gradient: cost.seconds for cost in evidence.costs}
    solves = [
        SolveSettings(row, row.gradient, row.evaluations * costs[row.gradient], stand_in)
        for row in _worst_around(rows, candidate.gamma)
        if row.gradient in costs and row.error <= bound
    ]
    if not solves:
        return None
    return min(solves, key=lambda solve: (solve.cost, solve.row.error))


def _rows_of(evidence: AdviceData, candidate: Candidate) -> tuple[list[StoredError], str]:
    measured = [row for row in evidence.gradient if row.activation == candidate.activation.name]
    if any(row.gamma >= candidate.gamma for row in measured):
        return measured, ""
    far_enough = {row.activation for row in evidence.gradient if row.gamma >= candidate.gamma}
    smoothness = {name: _smoothness(name) for name in far_enough}
    peers = {n: s for n, s in smoothness.items() if s <= candidate.activation.profile.smoothness}
    if not peers:
        return [], ""
    closest = max(peers.values())
    alike = sorted(name for name, smooth in peers.items() if smooth == closest)
    return (
        [row for row in evidence.gradient if row.activation in alike],
        f"{candidate} was not measured; the error is the largest of {', '.join(alike)} ({_class(alike[0])})",
    )


def _worst_around(rows: Sequence[StoredError], gamma: float) -> list[StoredError]:
    """By solver, gradient method and steps, the row with the larger error at the two horizons around γ."""
    above = min((row.gamma for row in rows if row.gamma >= gamma), default=math.nan)
    below = max((row.gamma for row in rows if row.gamma <= gamma), default=above)
    around: dict[tuple[str, str, int], list[StoredError]] = {}
    for row in rows:
        if row.gamma in (below, above):
            around.setdefault((row.solver, row.gradient, row.steps), []).append(row)
    known = [group for group in around.values() if any(row.gamma == above for row in group)]
    return [max(group, key=lambda row: row.error) for group in known]


def _activation(name: str) -> Activation:
    """The activation with the given canonical name, such as `softplus(beta=4)`."""
    plain, _, settings = name.partition("(")
    pairs = (pair.split("=") for pair in settings.rstrip(")").split(", ") if pair)
    return activations.get(plain, **{key: float(value) for key, value in pairs})


def _smoothness(name: str) -> float:
    return _activation(name).profile.smoothness


def _class(name: str) -> str:
    return _activation(name).profile.smoothness_class
