"""From options to one plan: candidate, width, steps and gradient method that go together within a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ntkode.advice.bench import Bench, Option
from ntkode.advice.calibration import Cost
from ntkode.advice.prediction import Ranked, fewest_steps, rank
from ntkode.advice.rules import Way
from ntkode.advice.width import KernelDistance

# Gradients of less memory that are the same number for number.
LEAN = {"backprop": "checkpointed"}


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        option: the candidate.
        ranked: all options' predictions after `judged` steps, the candidate's first.
        judged: the number of steps that candidates were compared after.
        steps: to be run; fewer than judged where the budget bears no more.
        wanted: the width that keeps the distance.
        distance: what it was at that width.
        width: to be run; narrower than wanted where the budget bears no more.
        way: solver and gradient method.
        costs: of the widths that were timed.
        memory: of one gradient, MiB; None where it was not asked for.
        overrides: of the config.
    """

    option: Option
    ranked: list[Ranked]
    judged: int
    steps: int
    wanted: int
    distance: KernelDistance
    width: int
    way: Way
    costs: list[Cost]
    memory: float | None
    overrides: list[str]

    @property
    def cost(self) -> Cost:
        """Of the width to be run."""
        return next(cost for cost in self.costs if cost.width == self.width)

    @property
    def seconds(self) -> float:
        """That training takes, by that cost."""
        return self.cost.run(self.steps)


def make_plan(
    bench: Bench, options: Sequence[Option], choices: Sequence[int], told: Callable[[str], None]
) -> Plan:
    """The best candidate after the fewest steps that are tied with the least predicted error.

    Where a budget does not bear that at the width wanted, the width gives way, down to the narrowest; then
    the steps, and with them, as it may be another after fewer, the candidate.

    Raises:
        ValueError: memory or budget bear nothing.
        SolverFailure: the ODE of the candidate could not be solved.
    """
    judged = fewest_steps(bench.problem, [o.prediction for o in options], choices)
    plan = _planned(bench, options, judged, choices, told)
    budget = bench.request.budget
    if budget is None or plan.seconds <= budget:
        return plan
    borne = [k for k in choices if k <= plan.cost.steps_within(budget)] or [min(choices)]
    plan = _planned(bench, options, max(borne), borne, told)
    steps = min(plan.judged, plan.cost.steps_within(budget))
    if steps < 1:
        raise ValueError(
            f"budget={budget:g} seconds bear no step of {plan.option.candidate} at width {plan.width}: "
            f"{plan.cost.run(1):.2g} s; try a smaller n_train, or budget={math.ceil(plan.seconds)}"
        )
    return replace(plan, steps=steps)


def _planned(
    bench: Bench, options: Sequence[Option], judged: int, choices: Sequence[int], told: Callable[[str], None]
) -> Plan:
    """The candidate that is best after `judged` steps, at the widest width that its budget bears."""
    by_candidate = {option.candidate: option for option in options}
    predictions = [option.prediction for option in options]
    ranked = rank(bench.problem, predictions, judged, choices, lambda c: _choice(bench, by_candidate[c]))
    option = by_candidate[ranked[0].prediction.candidate]
    told(f"{option.candidate}: width")
    wanted, distance = bench.width(option)
    way, memory = _lean_enough(bench, option, wanted)
    told(f"{option.candidate}: {way.row.solver} with {way.row.steps} steps, timed on this machine")
    costs = _costs(bench, option, way, wanted, judged)
    budget = math.inf if bench.request.budget is None else bench.request.budget
    width = max((c.width for c in costs if c.run(judged) <= budget), default=costs[0].width)
    return Plan(
        option=option,
        ranked=ranked,
        judged=judged,
        steps=judged,
        wanted=wanted,
        distance=distance,
        width=width,
        way=way,
        costs=costs,
        memory=memory,
        overrides=bench.overrides(option.candidate, way, width),
    )


def _choice(bench: Bench, option: Option) -> int:
    return next(w for w in bench.request.widths if w >= option.need.width)


def _costs(bench: Bench, option: Option, way: Way, wanted: int, steps: int) -> list[Cost]:
    """Of the width wanted; with a budget, of widths from the narrowest to the first that it does not bear."""
    budget = bench.request.budget
    widths = [wanted] if budget is None else [w for w in bench.request.widths if w <= wanted]
    costs: list[Cost] = []
    for width in widths:
        costs.append(bench.cost(bench.overrides(option.candidate, way, width)))
        if budget is not None and costs[-1].run(steps) > budget:
            break
    return costs


def _lean_enough(bench: Bench, option: Option, width: int) -> tuple[Way, float | None]:
    """The way, by a gradient method that keeps the memory, and what that takes, MiB.

    Raises:
        ValueError: none does.
    """
    allowed, way = bench.request.memory, option.way
    if allowed is None:
        return way, None
    tried: dict[str, float] = {}
    for gradient in filter(None, (way.gradient, LEAN.get(way.gradient))):
        lean = replace(way, gradient=gradient)
        tried[gradient] = bench.memory(bench.overrides(option.candidate, lean, width))
        if tried[gradient] <= allowed:
            return lean, tried[gradient]
    told = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in tried.items())
    raise ValueError(
        f"memory={allowed:g} MiB does not bear a gradient at width {width} ({told}): a smaller n_train, "
        f"or memory={math.ceil(min(tried.values()))}"
    )
