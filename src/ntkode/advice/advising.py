"""From a data set to a recommended configuration, with the reasons for each choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ntkode.advice.advice_data import AdviceData
from ntkode.advice.measurements import Compose, Measurements, Option, Request
from ntkode.advice.plan import Plan, make_plan
from ntkode.advice.prediction import Candidate, Prediction, Problem, Ranked, Refused, predict, rank
from ntkode.advice.reasons import reasons
from ntkode.advice.rules import Reason, longest
from ntkode.ntk import slow_dual

# Candidate numbers of steps under a budget, relative to the config's number.
STRETCHES = (0.125, 0.25, 0.5, 1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Advice:
    """A recommended configuration with its reasons.

    Attributes:
        dataset: the choice of conf/dataset.
        draw: the seed of the data draw; None for data that are not drawn.
        overrides: the recommended overrides of benchmarks/run.py.
        reasons: one reason per choice.
        plan: the plan behind the overrides, with all predictions, the recommended one first.
        refused: candidates that are not advised, with the reason for each.
        default: the prediction for the unchanged config; None if it cannot be predicted.
        problem: the samples that the predictions use.
        request: the user's request.
        horizon: T.
    """

    dataset: str
    draw: int | None
    overrides: list[str]
    reasons: list[Reason]
    plan: Plan
    refused: list[Refused]
    default: Ranked | None
    problem: Problem
    request: Request
    horizon: float


def advise(
    request: Request,
    compose: Compose,
    evidence: AdviceData,
    notify: Callable[[str], None],
    progress: Callable[[Sequence[Candidate]], Iterable[Candidate]],
) -> Advice:
    """Recommend activation, σ_w, width, solver, gradient method, learning rate and steps.

    Args:
        request: the user's request.
        compose: composes a config from overrides; without overrides, the user's config.
        evidence: the evidence from stored runs.
        notify: called with one line of text at the start of each part.
        progress: iterates over the candidates, which take most of the time, and displays the progress.

    Raises:
        DataError: the data cannot be read as configured.
        ValueError: a setting is out of range, or no candidate satisfies a bound.
        SolverFailure: the ODE of the recommended candidate could not be solved.
    """
    far = [gamma for gamma in request.gammas if gamma > longest(evidence)]
    if far:
        raise ValueError(
            f"gammas={far[0]:g}: gradients were measured only up to σ_w·T = {longest(evidence):g}; "
            "leave it out, or scale σ_w by 1/T"
        )
    measurements = Measurements(request, compose, evidence)
    steps = int(measurements.config["steps"])
    choices = [steps] if request.budget is None else [max(1, round(steps * s)) for s in STRETCHES]
    outcomes = [measurements.option(candidate, choices) for candidate in progress(measurements.candidates)]
    options = [o for o in outcomes if isinstance(o, Option)]
    refused = [o for o in outcomes if isinstance(o, Refused)]
    if not options:
        raise ValueError(
            f"no candidate can be advised; {refused[0].candidate}: {refused[0].reason}; try gammas=0.25,0.5"
        )
    plan = make_plan(measurements, options, choices, notify)
    overrides = list(plan.overrides)
    if request.budget is not None:
        overrides += [f"steps={plan.steps}", "metrics=cheap"]
    return Advice(
        dataset=measurements.config["choices"]["dataset"],
        draw=measurements.config["dataset"].get("seed"),
        overrides=overrides,
        reasons=reasons(measurements, plan, refused),
        plan=plan,
        refused=refused,
        default=_standing(measurements, plan),
        problem=measurements.problem,
        request=request,
        horizon=measurements.horizon,
    )


def _standing(measurements: Measurements, plan: Plan) -> Ranked | None:
    """The unchanged config, ranked among the plan's predictions; None if it cannot be predicted."""
    known = [r for r in plan.ranked if r.prediction.candidate == measurements.default]
    if known or slow_dual(measurements.default.activation):
        return known[0] if known else None
    outcome = predict(measurements.problem, measurements.default, plan.choices)
    if not isinstance(outcome, Prediction):
        return None
    predictions = [*(r.prediction for r in plan.ranked), outcome]
    ranked = rank(measurements.problem, predictions, plan.judged, plan.choices, lambda _: 0)
    return next(r for r in ranked if r.prediction is outcome)
