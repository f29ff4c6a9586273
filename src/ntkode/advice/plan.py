"""Combine candidate, width, steps and gradient method into one plan within budget and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ntkode.advice.calibration import TrainingCost
from ntkode.advice.measurements import Measurements, Option
from ntkode.advice.prediction import Candidate, Ranked, fewest_steps, rank
from ntkode.advice.rules import SolveSettings
from ntkode.advice.width import KernelDistance

# Gradient methods with the same numbers that need less memory.
LEAN = {"backprop": "checkpointed"}


@dataclass(frozen=True)
class Fit:
    """A width whose training was timed.

    Attributes:
        solve: solver, steps and gradient method.
        cost: cost of training with them at this width.
        memory: peak memory of a gradient, in MiB; None without a memory limit.
    """

    solve: SolveSettings
    cost: TrainingCost
    memory: float | None

    @property
    def width(self) -> int:
        """The network width n of the timed training."""
        return self.cost.width


@dataclass(frozen=True)
class Plan:
    """The recommended training.

    Attributes:
        option: the recommended candidate.
        ranked: the predictions of all options after `judged` steps, the recommended one first.
        needs: by candidate, the width given by the law c/√n.
        judged: the number of steps at which candidates are compared.
        choices: the candidate numbers of steps.
        steps: the number of steps to run; less than `judged` if the budget is too small.
        distances: measured distances from the limit by width, the last one at width `wanted`.
        fit: the width to run; narrower than `wanted` if budget or memory is too small.
        timed: all widths that were timed.
        overrides: the overrides of the config.
        curtailed: whether the budget allows fewer steps than the best prediction needs.
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
        """The first width within the distance bound, or the widest choice."""
        return self.distances[-1].width

    @property
    def seconds(self) -> float:
        """Predicted seconds of training for `steps` steps."""
        return self.fit.cost.run(self.steps)


def make_plan(
    measurements: Measurements,
    options: Sequence[Option],
    choices: Sequence[int],
    notify: Callable[[str], None],
) -> Plan:
    """The best candidate, after the fewest steps whose predicted error is tied with the least one.

    If budget or memory is too small for the wanted width, narrower widths are tried, down to the narrowest.
    If the budget is still too small, candidates are compared again at the numbers of steps that fit.

    Raises:
        ValueError: no step fits the budget, or no gradient fits the memory.
        SolverFailure: the ODE of the candidate could not be solved.
    """
    plan = _planned(measurements, options, choices, notify)
    budget = measurements.request.budget
    if budget is None or plan.seconds <= budget:
        return plan
    affordable = [k for k in choices if k <= plan.fit.cost.steps_within(budget)] or [min(choices)]
    plan = _planned(measurements, options, affordable, notify)
    steps = min(plan.judged, plan.fit.cost.steps_within(budget))
    if steps < 1:
        raise ValueError(
            f"budget={budget:g} seconds is too short: one step of {plan.option.candidate} at width "
            f"{plan.fit.width} takes {plan.fit.cost.run(1):.2g} s, with λ_max; try a smaller n_train, or "
            f"budget={math.ceil(plan.seconds)}"
        )
    return replace(plan, steps=steps, curtailed=True)


def _planned(
    measurements: Measurements,
    options: Sequence[Option],
    choices: Sequence[int],
    notify: Callable[[str], None],
) -> Plan:
    """The candidate that is best after the fewest steps, at the largest width within budget and memory."""
    by_candidate = {option.candidate: option for option in options}
    predictions = [option.prediction for option in options]
    judged = fewest_steps(measurements.problem, predictions, choices)
    ranked = rank(
        measurements.problem, predictions, judged, choices, lambda c: _choice(measurements, by_candidate[c])
    )
    option = by_candidate[ranked[0].prediction.candidate]
    notify(f"{option.candidate}: width")
    distances = measurements.distances(option)
    row = option.solve.row
    notify(f"{option.candidate}: {row.solver} with {row.steps} steps, timed on this machine")
    timed = _timed(measurements, option, distances[-1].width, judged)
    budget = math.inf if measurements.request.budget is None else measurements.request.budget
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
        overrides=measurements.overrides(option.candidate, fit.solve, fit.width),
    )


def _choice(measurements: Measurements, option: Option) -> int:
    return next(w for w in measurements.request.widths if w >= option.need.width)


def _timed(measurements: Measurements, option: Option, wanted: int, steps: int) -> list[Fit]:
    """Timings at the wanted width; under a limit, from the narrowest width to the first that exceeds it.

    Raises:
        ValueError: the narrowest width exceeds the memory.
    """
    budget, memory = measurements.request.budget, measurements.request.memory
    limited = budget is not None or memory is not None
    fits: list[Fit] = []
    for width in [w for w in measurements.request.widths if w <= wanted] if limited else [wanted]:
        try:
            solve, mebibytes = _lean_enough(measurements, option, width)
        except _TooLarge:
            if not fits:
                raise
            break
        fits.append(
            Fit(solve, measurements.cost(measurements.overrides(option.candidate, solve, width)), mebibytes)
        )
        if budget is not None and fits[-1].cost.run(steps) > budget:
            break
    return fits


class _TooLarge(ValueError):
    """No gradient fits the memory."""


def _lean_enough(
    measurements: Measurements, option: Option, width: int
) -> tuple[SolveSettings, float | None]:
    """The solve with a gradient method that fits the memory, and its peak memory in MiB.

    Raises:
        _TooLarge: no gradient method fits.
    """
    allowed, solve = measurements.request.memory, option.solve
    if allowed is None:
        return solve, None
    tried: dict[str, float] = {}
    for gradient in filter(None, (solve.gradient, LEAN.get(solve.gradient))):
        lean = replace(solve, gradient=gradient)
        tried[gradient] = measurements.memory(measurements.overrides(option.candidate, lean, width))
        if tried[gradient] <= allowed:
            return lean, tried[gradient]
    sizes = ", ".join(f"{name} {mib:.2g} MiB" for name, mib in tried.items())
    raise _TooLarge(
        f"memory={allowed:g} MiB is too little for a gradient at width {width} ({sizes}): try a smaller "
        f"n_train, or memory={math.ceil(min(tried.values()))}"
    )
