"""Rules from evidence to choices: width by the law c/√n, solver and gradient method by cost for an error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ntkode import activations
from ntkode.activations import Activation
from ntkode.advice.evidence import Evidence, GradientError, WidthLaw
from ntkode.advice.prediction import Candidate

# Change of the final loss by which the bound on the gradient's error is read off.
CHANGE = 0.01
# Runs below which a number is called thin.
FEW = 3


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
class WidthNeed:
    """How wide a network must be to be near its limit.

    Attributes:
        constant: c of ‖Θ_n − Θ_∞‖/‖Θ_∞‖ ≈ c/√n.
        distance: the distance to be kept.
        evidence: where c comes from.
        thin: why that is thin; empty where it is not.
    """

    constant: float
    distance: float
    evidence: str
    thin: str

    @property
    def width(self) -> int:
        """The least n with c/√n ≤ distance."""
        return math.ceil((self.constant / self.distance) ** 2 * (1 - 1e-12))  # 225.00…03 is 225

    def at(self, width: int) -> float:
        """The expected distance of a width."""
        return self.constant / math.sqrt(width)


def width_need(evidence: Evidence, candidate: Candidate, distance: float) -> WidthNeed:
    """c of the candidate: log c is linear in γ between measured horizons, constant below, extended above.

    An activation that was not measured takes the largest c of those that were.

    Raises:
        ValueError: no width law is stored.
    """
    if not evidence.width:
        raise ValueError("the evidence has no width law: make it anew by benchmarks/advice_evidence.py")
    own = [law for law in evidence.width if law.activation == candidate.activation.name]
    thin = []
    if own:
        constant = _at_gamma(own, candidate.gamma)
        used = own
    else:
        by_name = {
            law.activation: [o for o in evidence.width if o.activation == law.activation]
            for law in evidence.width
        }
        constant, used = max(
            ((_at_gamma(laws, candidate.gamma), laws) for laws in by_name.values()), key=lambda p: p[0]
        )
        thin.append(
            f"{candidate.activation.name} was not measured: the largest constant, "
            f"that of {used[0].activation}"
        )
    low, high = min(law.gamma for law in used), max(law.gamma for law in used)
    if not low <= candidate.gamma <= high:
        thin.append(f"σ_w·T = {candidate.gamma:g} lies outside {low:g} to {high:g}")
    nearest = min(used, key=lambda law: abs(law.gamma - candidate.gamma))
    if nearest.runs < FEW:
        thin.append(f"{nearest.runs} runs")
    told = (
        f"{nearest.activation} at σ_w·T = {nearest.gamma:g} on {nearest.dataset}: c = {nearest.constant:.2f} "
        f"({nearest.low:.2f} to {nearest.high:.2f}) in {sum(law.runs for law in used)} runs"
    )
    if not math.isnan(nearest.slope):
        told += f", slope {nearest.slope:.2f} ± {nearest.half_width:.2f}"
    return WidthNeed(constant, distance, told, "; ".join(thin))


def _at_gamma(laws: Sequence[WidthLaw], gamma: float) -> float:
    by_gamma: dict[float, float] = {}
    for law in laws:
        by_gamma[law.gamma] = max(law.constant, by_gamma.get(law.gamma, 0.0))
    known = np.array(sorted(by_gamma))
    logs = np.log([by_gamma[g] for g in known])
    if gamma > known[-1] and len(known) > 1:
        slope = max(0.0, (logs[-1] - logs[-2]) / (known[-1] - known[-2]))
        return float(np.exp(logs[-1] + slope * (gamma - known[-1])))
    return float(np.exp(np.interp(gamma, known, logs)))


@dataclass(frozen=True)
class Way:
    """A solver, its steps and a gradient method.

    Attributes:
        solver: as in conf/solver.
        steps: of the solve.
        gradient: as in conf/gradient.
        error: the gradient's relative error to expect.
        cost: forward evaluations times the gradient method's cost over backprop's.
        row: the measurement that it rests on.
        thin: why that is thin; empty where it is not.
    """

    solver: str
    steps: int
    gradient: str
    error: float
    cost: float
    row: GradientError
    thin: str


def bearable(evidence: Evidence) -> tuple[float, str]:
    """The largest gradient error that leaves the final loss of every measured activation within 1 %, and why.

    Raises:
        ValueError: none is stored.
    """
    rows = [row for row in evidence.tolerated if row.change == CHANGE and row.enough > 0]
    if not rows:
        raise ValueError("the evidence does not say what error training bears: benchmarks/advice_evidence.py")
    least = min(rows, key=lambda row: row.enough)
    told = "; ".join(
        f"{row.activation}: {row.enough:.2g}"
        + (f", passed at {row.too_much:.2g}" if row.too_much > 0 else ", the largest tried")
        for row in rows
    )
    return (
        least.enough,
        f"{told} ({sum(row.runs for row in rows)} runs on {', '.join(sorted({r.dataset for r in rows}))})",
    )


def cheapest_way(evidence: Evidence, candidate: Candidate, bound: float) -> Way:
    """The cheapest measured way whose gradient error is below `bound`.

    A row measured at a longer horizon than the candidate's is a bound from above. Where the horizon is longer
    than any measured one, steps grow in proportion; where no measured number of steps is enough, they grow by
    the order between the last two. Both are told as thin. An activation that was not measured takes the row
    of the least accurate one that is as smooth, or less.

    Raises:
        ValueError: no way is known that keeps the bound.
    """
    rows, stand_in = _rows_of(evidence, candidate.activation)
    costs = {cost.gradient: cost.seconds for cost in evidence.costs}
    ways = [
        way
        for own in _by_method(rows)
        if own[0].gradient in costs
        and (way := _way(own, candidate.gamma, bound, costs[own[0].gradient])) is not None
    ]
    if not ways:
        raise ValueError(
            f"no measured solver keeps the gradient of {candidate} within {bound:.2g}: "
            "a shorter horizon, such as gammas=1, or a larger bound, such as gradient_error=0.1"
        )
    best = min(ways, key=lambda way: (way.cost, way.error))
    thin = "; ".join(filter(None, (stand_in, best.thin)))
    return Way(best.solver, best.steps, best.gradient, best.error, best.cost, best.row, thin)


def _rows_of(evidence: Evidence, activation: Activation) -> tuple[list[GradientError], str]:
    own = [row for row in evidence.gradient if row.activation == activation.name]
    if own:
        return own, ""
    smoothness = activation.profile.smoothness
    names = {row.activation for row in evidence.gradient}
    measured = {name: _smoothness(name) for name in names}
    as_smooth = {name: s for name, s in measured.items() if s <= smoothness}
    if not as_smooth:
        raise ValueError(f"no gradient of an activation as rough as {activation.name} was measured")
    closest = max(as_smooth.values())
    peers = [row for row in evidence.gradient if as_smooth.get(row.activation) == closest]
    worst = max(peers, key=lambda row: row.error).activation
    return (
        [row for row in peers if row.activation == worst],
        f"{activation.name} was not measured: as {worst}, which is of class C^{closest:.0f}",
    )


def _smoothness(name: str) -> float:
    plain, _, settings = name.partition("(")
    pairs = (pair.split("=") for pair in settings.rstrip(")").split(", ") if pair)
    return activations.get(plain, **{key: float(value) for key, value in pairs}).profile.smoothness


def _by_method(rows: Iterable[GradientError]) -> list[list[GradientError]]:
    groups: dict[tuple[str, str], list[GradientError]] = {}
    for row in rows:
        groups.setdefault((row.solver, row.gradient), []).append(row)
    return list(groups.values())


def _way(rows: list[GradientError], gamma: float, bound: float, ratio: float) -> Way | None:
    """One solver and gradient method."""
    longest = max(row.gamma for row in rows)
    at = min((row.gamma for row in rows if row.gamma >= gamma), default=longest)
    stretch, thin = max(1.0, gamma / at), []
    if stretch > 1:
        thin.append(f"measured up to σ_w·T = {longest:g} only")
    worst: dict[int, GradientError] = {}
    for row in rows:
        if row.gamma == at and row.error > (worst[row.steps].error if row.steps in worst else 0.0):
            worst[row.steps] = row
    ladder = [worst[steps] for steps in sorted(worst)]
    enough = [row for row in ladder if row.error <= bound]
    if enough:
        row = enough[0]
        needed, error = float(row.steps), row.error
    else:
        if len(ladder) < 2:
            return None
        before, row = ladder[-2:]
        order = math.log(before.error / row.error) / math.log(row.steps / before.steps)
        if order < 0.5:  # no convergence to speak of
            return None
        needed, error = row.steps * (row.error / bound) ** (1 / order), bound
        thin.append(f"extrapolated from {row.steps} steps by order {order:.1f}")
    if row.runs < FEW:
        thin.append(f"{row.runs} run{'s' if row.runs > 1 else ''} of that setting")
    steps = math.ceil(needed * stretch)
    cost = row.evaluations / row.steps * steps * ratio
    return Way(row.solver, steps, row.gradient, error, cost, row, "; ".join(thin))
