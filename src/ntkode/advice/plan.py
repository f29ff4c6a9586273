"""From options to one plan: candidate, width, steps and gradient method that go together within a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ntkode.advice.calibration import TrainingCost
from ntkode.advice.measurements import Bench, Option
from ntkode.advice.prediction import Candidate, Ranked, fewest_steps, rank
from ntkode.advice.rules import Way
from ntkode.advice.width import KernelDistance

# Gradients of less memory that are the same number for number.
LEAN = {"backprop": "checkpointed"}


@dataclass(frozen=True)
class Fit:
    """A width that was timed.

    Attributes:
        way: solver and gradient method.
        cost: of training by them at that width.
        memory: that a gradient takes, MiB; None where it was not asked for.
    """

    way: Way
    cost: TrainingCost
    memory: float | None

    @property
    def width(self) -> int:
        """n."""
        return self.cost.width


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        option: the candidate.
        ranked: all options' predictions after `judged` steps, the candidate's first.
        needs: by candidate, the width that the law asks for.
        judged: the number of steps that candidates were compared after.
        choices: the numbers of steps among which.
        steps: to be run; fewer than judged where the budget bears no more.
        distances: from the limit, at the widths that the law asks for, last at `wanted`.
        fit: what is to be run; narrower than wanted where budget or memory bear no more.
        timed: all that were timed.
        overrides: of the config.
        curtailed: whether the budget bears fewer steps than the best prediction takes.
    """

    option: Option
    ranked: list[Ranked]
    needs: dict[Candidate, int]
    judged: int
    choices: tuple[int, ...]
    steps: int
    distances: list[KernelDistance]
    fit: Fit
    timed: list[Fit]
    overrides: list[str]
    curtailed: bool = False

    @property
    def wanted(self) -> int:
        """The width that keeps the distance, or the widest."""
        return self.distances[-1].width

    @property
    def seconds(self) -> float:
        """That training takes."""
        return self.fit.cost.run(self.steps)


def make_plan(
    bench: Bench, options: Sequence[Option], choices: Sequence[int], told: Callable[[str], None]
) -> Plan:
    """The best candidate after the fewest steps that are tied with the least predicted error.

    Where budget or memory do not bear that at the width wanted, the width gives way, down to the narrowest;
    then, to a budget, the steps: the least predicted error is then that of the numbers of steps it bears.

    Raises:
        ValueError: memory or budget bear nothing.
        SolverFailure: the ODE of the candidate could not be solved.
    """
    plan = _planned(bench, options, choices, told)
    budget = bench.request.budget
    if budget is None or plan.seconds <= budget:
        return plan
    borne = [k for k in choices if k <= plan.fit.cost.steps_within(budget)] or [min(choices)]
    plan = _planned(bench, options, borne, told)
    steps = min(plan.judged, plan.fit.cost.steps_within(budget))
    if steps < 1:
        raise ValueError(
            f"budget={budget:g} seconds bear no step of {plan.option.candidate} at width {plan.fit.width}: "
            f"{plan.fit.cost.run(1):.2g} s; try a smaller n_train, or budget={math.ceil(plan.seconds)}"
        )
    return replace(plan, steps=steps, curtailed=True)


def _planned(
    bench: Bench, options: Sequence[Option], choices: Sequence[int], told: Callable[[str], None]
) -> Plan:
    """The candidate that is best after the fewest steps, at the widest width that budget and memory bear."""
    by_candidate = {option.candidate: option for option in options}
    predictions = [option.prediction for option in options]
    judged = fewest_steps(bench.problem, predictions, choices)
    ranked = rank(bench.problem, predictions, judged, choices, lambda c: _choice(bench, by_candidate[c]))
    option = by_candidate[ranked[0].prediction.candidate]
    told(f"{option.candidate}: width")
    distances = bench.distances(option)
    row = option.way.row
    told(f"{option.candidate}: {row.solver} with {row.steps} steps, timed on this machine")
    timed = _timed(bench, option, distances[-1].width, judged)
    budget = math.inf if bench.request.budget is None else bench.request.budget
    fit = max((f for f in timed if f.cost.run(judged) <= budget), key=lambda f: f.width, default=timed[0])
    return Plan(
        option=option,
        ranked=ranked,
        needs={option.candidate: option.need.width for option in options},
        judged=judged,
        choices=tuple(choices),
        steps=judged,
        distances=distances,
        fit=fit,
        timed=timed,
        overrides=bench.overrides(option.candidate, fit.way, fit.width),
    )


def _choice(bench: Bench, option: Option) -> int:
    return next(w for w in bench.request.widths if w >= option.need.width)


def _timed(bench: Bench, option: Option, wanted: int, steps: int) -> list[Fit]:
    """The width wanted; with a limit, widths from the narrowest to the first that it does not bear.

    Raises:
        ValueError: the memory does not bear the narrowest.
    """
    budget, memory = bench.request.budget, bench.request.memory
    limited = budget is not None or memory is not None
    fits: list[Fit] = []
    for width in [w for w in bench.request.widths if w <= wanted] if limited else [wanted]:
        try:
            way, taken = _lean_enough(bench, option, width)
        except _TooLarge:
            if not fits:
                raise
            break
        fits.append(Fit(way, bench.cost(bench.overrides(option.candidate, way, width)), taken))
        if budget is not None and fits[-1].cost.run(steps) > budget:
            break
    return fits


class _TooLarge(ValueError):
    """No gradient fits the memory."""


def _lean_enough(bench: Bench, option: Option, width: int) -> tuple[Way, float | None]:
    """The way, by a gradient method that keeps the memory, and what that takes, MiB.

    Raises:
        _TooLarge: none does.
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
    told = ", ".join(f"{name} {mib:.2g} MiB" for name, mib in tried.items())
    raise _TooLarge(
        f"memory={allowed:g} MiB does not bear a gradient at width {width} ({told}): a smaller n_train, "
        f"or memory={math.ceil(min(tried.values()))}"
    )
