"""Rules from evidence to choices: what gradient error training bears, and the cheapest way to keep it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ntkode import activations
from ntkode.activations import Activation
from ntkode.advice.advice_data import AdviceData, StoredError
from ntkode.advice.prediction import Candidate

# Change of the final loss by which the bound on the gradient's error is read off.
CHANGE = 0.01


@dataclass(frozen=True)
class Reason:
    """One choice and what it rests on.

    Attributes:
        choice: what is chosen, such as `width`.
        value: the choice.
        rule: how it follows.
        evidence: the numbers and runs that it rests on.
        thin: why the evidence is thin; empty where it is not.
    """

    choice: str
    value: str
    rule: str
    evidence: str
    thin: str = ""


@dataclass(frozen=True)
class Way:
    """A solver, its steps and a gradient method.

    Attributes:
        row: the measurement that solver, steps and the error to expect come from.
        gradient: as in conf/gradient.
        cost: forward evaluations times the gradient method's cost over backprop's.
        thin: why the measurement says little; empty where it does not.
    """

    row: StoredError
    gradient: str
    cost: float
    thin: str


def bearable(evidence: AdviceData) -> tuple[float, str]:
    """The largest gradient error that leaves the final loss of every measured activation within 1 %, and why.

    Raises:
        ValueError: none is stored.
    """
    rows = [row for row in evidence.tolerated if row.change == CHANGE and row.enough > 0]
    if not rows:
        raise ValueError(
            "the evidence does not say what gradient error training bears: leave evidence= out, or make it "
            "by make evidence"
        )
    told = "; ".join(
        f"{row.activation}: {row.enough:.2g}"
        + (f" (at {row.too_much:.2g} no longer)" if row.too_much > 0 else " (the largest tried)")
        for row in rows
    )
    runs, datasets = sum(row.runs for row in rows), ", ".join(sorted({row.dataset for row in rows}))
    return min(row.enough for row in rows), f"{told} ({runs} runs on {datasets})"


def longest(evidence: AdviceData) -> float:
    """The largest σ_w·T at which gradients were measured."""
    return max((row.gamma for row in evidence.gradient), default=0.0)


def cheapest_way(evidence: AdviceData, candidate: Candidate, bound: float) -> Way | None:
    """The cheapest measured way whose gradient error is at most `bound`; None where there is none.

    Of the horizons measured, the nearest below and above σ_w·T count, and of their errors the larger. An
    activation that was not measured at a horizon so long takes, setting by setting, the largest error of
    those that were, of its class of smoothness or of the next rougher class.
    """
    rows, stand_in = _rows_of(evidence, candidate)
    costs = {cost.gradient: cost.seconds for cost in evidence.costs}
    ways = [
        Way(row, row.gradient, row.evaluations * costs[row.gradient], stand_in)
        for row in _worst_around(rows, candidate.gamma)
        if row.gradient in costs and row.error <= bound
    ]
    if not ways:
        return None
    return min(ways, key=lambda way: (way.cost, way.row.error))


def _rows_of(evidence: AdviceData, candidate: Candidate) -> tuple[list[StoredError], str]:
    own = [row for row in evidence.gradient if row.activation == candidate.activation.name]
    if any(row.gamma >= candidate.gamma for row in own):
        return own, ""
    far_enough = {row.activation for row in evidence.gradient if row.gamma >= candidate.gamma}
    smoothness = {name: _smoothness(name) for name in far_enough}
    peers = {n: s for n, s in smoothness.items() if s <= candidate.activation.profile.smoothness}
    if not peers:
        return [], ""
    closest = max(peers.values())
    alike = sorted(name for name, smooth in peers.items() if smooth == closest)
    return (
        [row for row in evidence.gradient if row.activation in alike],
        f"{candidate} was not measured: as the worst of {', '.join(alike)}, of class {_class(alike[0])}",
    )


def _worst_around(rows: Sequence[StoredError], gamma: float) -> list[StoredError]:
    """By solver, gradient method and steps, the row of the larger error at the horizons around γ."""
    above = min((row.gamma for row in rows if row.gamma >= gamma), default=math.nan)
    below = max((row.gamma for row in rows if row.gamma <= gamma), default=above)
    around: dict[tuple[str, str, int], list[StoredError]] = {}
    for row in rows:
        if row.gamma in (below, above):
            around.setdefault((row.solver, row.gradient, row.steps), []).append(row)
    known = [group for group in around.values() if any(row.gamma == above for row in group)]
    return [max(group, key=lambda row: row.error) for group in known]


def _activation(name: str) -> Activation:
    """The activation that a canonical name, such as `softplus(beta=4)`, stands for."""
    plain, _, settings = name.partition("(")
    pairs = (pair.split("=") for pair in settings.rstrip(")").split(", ") if pair)
    return activations.get(plain, **{key: float(value) for key, value in pairs})


def _smoothness(name: str) -> float:
    return _activation(name).profile.smoothness


def _class(name: str) -> str:
    return _activation(name).profile.smoothness_class
