"""From a data set to a recommended configuration, with the reasons for each choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ntkode.activations import Activation
from ntkode.advice.calibration import Cost, measure_cost, measure_memory
from ntkode.advice.evidence import Evidence
from ntkode.advice.prediction import (
    Candidate,
    Prediction,
    Problem,
    Ranked,
    Refused,
    fewest_steps,
    predict,
    rank,
)
from ntkode.advice.reasons import (
    activation_reason,
    gradient_reason,
    rate_reason,
    solver_reason,
    steps_reason,
    width_reason,
)
from ntkode.advice.rules import Reason, Way, bearable, cheapest_way, width_need
from ntkode.data import DataModule
from ntkode.ntk import slow_dual
from ntkode.studies.base import Config, build
from ntkode.studies.preparation import build_model, read_data, seed_everything

Compose = Callable[[Sequence[str]], Config]
"""Overrides of conf/config.yaml ↦ the config composed of them, data set included."""

# Steps that are looked at where there is a budget, over those of the config.
STRETCHES = (0.125, 0.25, 0.5, 1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        activations: choices of conf/activation among which to advise.
        gammas: σ_w·T among which to advise.
        widths: the widths that are choices, ascending.
        rows: training samples that the theory is computed on, at most.
        distance: ‖Θ_n − Θ_∞‖/‖Θ_∞‖ that the width is to keep.
        budget: seconds that the training may take; None: the config's steps, however long.
        memory: MiB that a gradient may allocate; None: any.
    """

    activations: tuple[str, ...]
    gammas: tuple[float, ...]
    widths: tuple[int, ...]
    rows: int = 500
    distance: float = 0.25
    budget: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Advice:
    """A recommendation.

    Attributes:
        dataset: the choice of conf/dataset.
        overrides: of benchmarks/run.py, in place of the defaults.
        reasons: one a choice.
        ranked: all predictions, the recommended one first.
        refused: candidates for which nothing is predicted.
        default: the prediction for the config as it stands; None where there is none.
        problem: the samples that the predictions are for.
        request: what was asked.
        horizon: T.
        steps: of the recommended run.
        cost: of the recommended run.
        seconds: that training by the advice takes, as measured on a few steps.
    """

    dataset: str
    overrides: list[str]
    reasons: list[Reason]
    ranked: list[Ranked]
    refused: list[Refused]
    default: Ranked | None
    problem: Problem
    request: Request
    horizon: float
    steps: int
    cost: Cost
    seconds: float


@dataclass
class _Adviser:
    request: Request
    compose: Compose
    evidence: Evidence
    told: Callable[[str], None]
    config: Config = field(init=False)
    data: DataModule = field(init=False)
    activations: dict[str, Activation] = field(init=False)

    def __post_init__(self) -> None:
        self.config = self.compose([])
        seed_everything(self.config)
        self.data = read_data(self.config)
        self.activations = {name: self._activation(name) for name in self.request.activations}

    # -- predictions

    def candidates(self) -> tuple[list[Candidate], Candidate]:
        """Those asked for, and the config's own."""
        own = Candidate(build(self.config["activation"]), self._own_gamma())
        phis = self.activations.values()
        several = [Candidate(phi, gamma) for phi in phis for gamma in self.request.gammas]
        return several, own

    def _own_gamma(self) -> float:
        return float(self.config["model"]["sigma_w"]) * float(self.config["model"]["horizon"])

    def _activation(self, name: str) -> Activation:
        phi: Activation = build(self.compose([f"activation={name}"])["activation"])
        if slow_dual(phi):
            raise ValueError(
                f"activations={name}: its infinite-width kernel takes minutes, for its kinks away from 0: "
                "leave it out"
            )
        return phi

    # -- width

    def width(self, candidate: Candidate) -> int:
        """The narrowest choice that keeps the distance; the widest where none does."""
        need = width_need(self.evidence, candidate, self.request.distance).width
        return next((w for w in self.request.widths if w >= need), self.request.widths[-1])

    def within_reach(self, predictions: Sequence[Prediction]) -> tuple[list[Prediction], list[Refused]]:
        """Those whose limit some choice of width is near enough to, and the others; all where none is."""
        reached, lost = [], []
        for p in predictions:
            need = width_need(self.evidence, p.candidate, self.request.distance)
            if need.width <= self.request.widths[-1]:
                reached.append(p)
            else:
                reason = f"horizon too long: near its limit at width {need.width} only"
                lost.append(Refused(p.candidate, reason))
        return (reached, lost) if reached else (list(predictions), [])

    # -- costs

    def overrides(self, candidate: Candidate, way: Way, width: int) -> list[str]:
        """What makes the config the candidate's."""
        sigma_w = candidate.gamma / float(self.config["model"]["horizon"])
        name = next(n for n, phi in self.activations.items() if phi == candidate.activation)
        return [
            f"activation={name}",
            f"model.sigma_w={sigma_w:g}",
            f"width=w{width}",
            f"solver={way.solver}",
            f"solver.steps={way.steps}",
            f"gradient={way.gradient}",
        ]

    def cost(self, overrides: Sequence[str]) -> Cost:
        """Measured on the model that the overrides make."""
        config = self.compose(overrides)
        seed_everything(config)
        model = build_model(config, self.data, self.data.train.x.device)
        return measure_cost(model, self.data, build(config["loss"]))

    def memory(self, overrides: Sequence[str]) -> float:
        """Likewise, MiB."""
        config = self.compose(overrides)
        seed_everything(config)
        model = build_model(config, self.data, self.data.train.x.device)
        return measure_memory(model, self.data, build(config["loss"]))


def advise(request: Request, compose: Compose, evidence: Evidence, told: Callable[[str], None]) -> Advice:
    """Recommend activation, σ_w, width, solver, gradient method, learning rate and steps.

    Args:
        request: what is asked.
        compose: makes configs; without overrides that of the data set as the user gave it.
        evidence: what stored runs say.
        told: called with a line whenever a part begins.

    Raises:
        DataError: the data cannot be had as asked.
        ValueError: a setting out of range, a candidate that takes too long, or no advice that keeps a bound.
    """
    adviser = _Adviser(request, compose, evidence, told)
    steps = int(adviser.config["steps"])
    choices = [steps] if request.budget is None else [max(1, round(steps * s)) for s in STRETCHES]
    model = adviser.config["model"]
    problem = Problem.of(
        adviser.data.train,
        adviser.data.description["train_indices"],
        request.rows,
        sigma_u=float(model["sigma_u"]),
        sigma_v=float(model["sigma_v"]),
    )
    candidates, own = adviser.candidates()
    told(f"infinite-width theory on {len(problem)} training samples: {len(candidates)} candidates")
    outcomes = [predict(problem, candidate, choices) for candidate in candidates]
    predictions = [o for o in outcomes if isinstance(o, Prediction)]
    refused = [o for o in outcomes if isinstance(o, Refused)]
    if not predictions:
        raise ValueError(f"nothing is predicted for any candidate: {refused[0].reason}; try gammas=0.25,0.5")
    predictions, too_wide = adviser.within_reach(predictions)
    refused += too_wide
    fit = _fit(adviser, problem, predictions, choices)
    ranked = rank(problem, predictions, fit.judged, adviser.width)
    return Advice(
        dataset=adviser.config["choices"]["dataset"],
        overrides=fit.overrides,
        reasons=_reasons(adviser, problem, ranked, refused, fit),
        ranked=ranked,
        refused=refused,
        default=_standing(adviser, problem, ranked, own, fit.judged),
        problem=problem,
        request=request,
        horizon=float(model["horizon"]),
        steps=fit.steps,
        cost=fit.cost,
        seconds=fit.cost.run(fit.steps),
    )


@dataclass(frozen=True)
class _Fit:
    """Choices that go together: candidates were ranked after `judged` steps, `steps` are to be run."""

    candidate: Candidate
    way: Way
    width: int
    judged: int
    steps: int
    affordable: int | None
    costs: list[Cost]
    memory: float | None
    overrides: list[str]

    @property
    def cost(self) -> Cost:
        return next(cost for cost in self.costs if cost.width == self.width)


def _fit(
    adviser: _Adviser, problem: Problem, predictions: Sequence[Prediction], choices: Sequence[int]
) -> _Fit:
    """Candidate, width and steps, each of which depends on the others: again until the candidate stays."""
    judged, seen = int(adviser.config["steps"]), set()
    while True:
        candidate = rank(problem, predictions, judged, adviser.width)[0].prediction.candidate
        fit = _fitted(adviser, candidate, problem, predictions, choices, judged)
        settled = rank(problem, predictions, fit.judged, adviser.width)[0].prediction.candidate
        if settled == candidate:
            return fit
        if fit.judged in seen:  # two that change places for ever: the one of the fewer steps
            return _fitted(adviser, settled, problem, predictions, [fit.judged], fit.judged)
        seen.add(fit.judged)
        judged = fit.judged


def _fitted(
    adviser: _Adviser,
    candidate: Candidate,
    problem: Problem,
    predictions: Sequence[Prediction],
    choices: Sequence[int],
    steps: int,
) -> _Fit:
    request, evidence = adviser.request, adviser.evidence
    judged = steps
    wanted = adviser.width(candidate)
    way = cheapest_way(evidence, candidate, bearable(evidence)[0])
    adviser.told(f"cost of {candidate}, {way.solver} with {way.steps} steps, on this machine")
    if request.budget is None:
        costs, width, affordable = [adviser.cost(adviser.overrides(candidate, way, wanted))], wanted, None
    else:
        costs = []
        for width in (w for w in request.widths if w <= wanted):
            costs.append(adviser.cost(adviser.overrides(candidate, way, width)))
            if costs[-1].run(steps) > request.budget:
                break
        within = [cost for cost in costs if cost.run(steps) <= request.budget] or costs[:1]
        width, affordable = within[-1].width, within[-1].steps_within(request.budget)
        if affordable < 1:
            raise ValueError(
                f"budget={request.budget:g} seconds do not bear one step of {candidate} at width {width}: "
                f"{costs[0].run(1):.2g} s; try a smaller n_train, or budget={math.ceil(costs[0].run(steps))}"
            )
        fitting = [k for k in choices if k <= affordable]
        judged = fewest_steps(problem, predictions, fitting) if fitting else min(choices)
        steps = min(judged, affordable)
    overrides, memory = adviser.overrides(candidate, way, width), None
    if request.memory is not None:
        way, memory = _lean(adviser, candidate, way, width, request.memory)
        overrides = adviser.overrides(candidate, way, width)
    if request.budget is not None:
        overrides += [f"steps={steps}", "metrics=cheap"]
    return _Fit(candidate, way, width, judged, steps, affordable, costs, memory, overrides)


def _lean(adviser: _Adviser, candidate: Candidate, way: Way, width: int, allowed: float) -> tuple[Way, float]:
    """The fastest gradient method that keeps the same gradient within the memory, and what it takes, MiB.

    Raises:
        ValueError: none does.
    """
    tried = {}
    for gradient in (way.gradient, "checkpointed", "reversible"):
        lean = replace(way, gradient=gradient)
        tried[gradient] = adviser.memory(adviser.overrides(candidate, lean, width))
        if tried[gradient] <= allowed:
            return lean, tried[gradient]
    told = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in tried.items())
    raise ValueError(
        f"memory={allowed:g} MiB does not bear a gradient at width {width} ({told}): a smaller n_train, "
        f"or memory={math.ceil(min(tried.values()))}"
    )


def _standing(
    adviser: _Adviser, problem: Problem, ranked: Sequence[Ranked], own: Candidate, steps: int
) -> Ranked | None:
    """How the config's own activation and horizon do beside the others."""
    known = [r for r in ranked if r.prediction.candidate == own]
    if known or slow_dual(own.activation):
        return known[0] if known else None
    outcome = predict(problem, own, [steps])
    if isinstance(outcome, Refused):
        return None
    predictions = [*(r.prediction for r in ranked), outcome]
    return next(r for r in rank(problem, predictions, steps, adviser.width) if r.prediction is outcome)


def _reasons(
    adviser: _Adviser, problem: Problem, ranked: Sequence[Ranked], refused: Sequence[Refused], fit: _Fit
) -> list[Reason]:
    request, evidence, data = adviser.request, adviser.evidence, adviser.data
    bound, told = bearable(evidence)
    need = width_need(evidence, fit.candidate, request.distance)
    chosen = ranked[0].prediction
    return [
        activation_reason(problem, ranked, refused, float(adviser.config["model"]["horizon"])),
        width_reason(need, fit.width, request.widths[-1], fit.costs, request.budget),
        solver_reason(fit.way, bound, told),
        gradient_reason(fit.way, evidence, fit.memory, request.memory),
        rate_reason(chosen, len(data.train), len(problem), fit.cost),
        steps_reason(chosen, fit.steps, fit.affordable, fit.cost, request.budget),
    ]
