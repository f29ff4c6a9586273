"""From a data set to a recommended configuration, with the reasons for each choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ntkode.advice.advice_data import AdviceData
from ntkode.advice.measurements import Bench, Compose, Option, Request
from ntkode.advice.plan import Plan, make_plan
from ntkode.advice.prediction import Candidate, Prediction, Problem, Ranked, Refused, predict, rank
from ntkode.advice.reasons import reasons
from ntkode.advice.rules import Reason, longest
from ntkode.ntk import slow_dual

# Steps that are looked at where there is a budget, over those of the config.
STRETCHES = (0.125, 0.25, 0.5, 1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Advice:
    """A recommendation.

    Attributes:
        dataset: the choice of conf/dataset.
        draw: the seed of the draw that it was made on; None for data that are not drawn.
        overrides: of benchmarks/run.py, in place of the defaults.
        reasons: one a choice.
        plan: what they come from, with all predictions, the recommended one first.
        refused: candidates that cannot be advised, and why.
        default: the prediction for the config as it stands; None where there is none.
        problem: the samples that the predictions are for.
        request: what was asked.
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
    told: Callable[[str], None],
    watched: Callable[[Sequence[Candidate]], Iterable[Candidate]],
) -> Advice:
    """Recommend activation, σ_w, width, solver, gradient method, learning rate and steps.

    Args:
        request: what is asked.
        compose: makes configs; without overrides that of the data set as the user gave it.
        evidence: what stored runs say.
        told: called with a line whenever a part begins.
        watched: iterates over the candidates, which take most of the time, and shows how far it is.

    Raises:
        DataError: the data cannot be had as asked.
        ValueError: a setting out of range, or no advice that keeps a bound.
        SolverFailure: the ODE of the recommended candidate could not be solved.
    """
    far = [gamma for gamma in request.gammas if gamma > longest(evidence)]
    if far:
        raise ValueError(
            f"gammas={far[0]:g}: no gradient was measured beyond σ_w·T = {longest(evidence):g}: "
            "leave it out, or scale σ_w by 1/T"
        )
    bench = Bench(request, compose, evidence)
    steps = int(bench.config["steps"])
    choices = [steps] if request.budget is None else [max(1, round(steps * s)) for s in STRETCHES]
    outcomes = [bench.option(candidate, choices) for candidate in watched(bench.candidates)]
    options = [o for o in outcomes if isinstance(o, Option)]
    refused = [o for o in outcomes if isinstance(o, Refused)]
    if not options:
        raise ValueError(
            f"no candidate can be advised; {refused[0].candidate}: {refused[0].reason}; try gammas=0.25,0.5"
        )
    plan = make_plan(bench, options, choices, told)
    overrides = list(plan.overrides)
    if request.budget is not None:
        overrides += [f"steps={plan.steps}", "metrics=cheap"]
    return Advice(
        dataset=bench.config["choices"]["dataset"],
        draw=bench.config["dataset"].get("seed"),
        overrides=overrides,
        reasons=reasons(bench, plan, refused),
        plan=plan,
        refused=refused,
        default=_standing(bench, plan),
        problem=bench.problem,
        request=request,
        horizon=bench.horizon,
    )


def _standing(bench: Bench, plan: Plan) -> Ranked | None:
    """How the config's own activation and horizon do beside the others."""
    known = [r for r in plan.ranked if r.prediction.candidate == bench.default]
    if known or slow_dual(bench.default.activation):
        return known[0] if known else None
    outcome = predict(bench.problem, bench.default, plan.choices)
    if not isinstance(outcome, Prediction):
        return None
    predictions = [*(r.prediction for r in plan.ranked), outcome]
    ranked = rank(bench.problem, predictions, plan.judged, plan.choices, lambda _: 0)
    return next(r for r in ranked if r.prediction is outcome)
