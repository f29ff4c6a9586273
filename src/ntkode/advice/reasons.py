"""The reasons for each choice, in words and numbers."""

from __future__ import annotations

from collections.abc import Sequence

from ntkode.advice.measurements import Bench
from ntkode.advice.plan import Plan
from ntkode.advice.prediction import FOLDS, Refused
from ntkode.advice.rules import CHANGE, Reason

# Samples below which a held-out error is called thin.
FEW_SAMPLES = 200
# Samples wrong below which it is likewise.
FEW_WRONG = 10
# Runs of a setting below which its gradient error is.
FEW_RUNS = 3
# Share of the limit's λ_max by which the network's may be off, before it is told.
FAR_OFF = 0.5


def reasons(bench: Bench, plan: Plan, refused: Sequence[Refused]) -> list[Reason]:
    """One a choice."""
    return [
        _activation(bench, plan, refused),
        _width(bench, plan),
        _solver(bench, plan),
        _gradient(bench, plan),
        _rate(bench, plan),
        _steps(bench, plan),
    ]


def _activation(bench: Bench, plan: Plan, refused: Sequence[Refused]) -> Reason:
    first, samples, of_all = plan.ranked[0], len(bench.problem), len(bench.data.train)
    candidate, spectrum = first.prediction.candidate, first.prediction.spectrum
    errors = first.prediction.errors[first.steps]
    floor = "below its resolution: not told from zero" if spectrum.below_resolution else "positive"
    thin = [f"{samples} samples"] if samples < FEW_SAMPLES else []
    wrong = ""
    if bench.problem.labels is not None:
        wrong = f", {int(errors.sum())} of {samples} samples wrong"
        if errors.sum() < FEW_WRONG:
            thin.append("few are wrong: candidates are told apart by single samples")
    if samples < of_all:
        thin.append(f"held out of {samples} samples, for a training on {of_all}")
    if refused:
        thin.append(f"{len(refused)} candidates are left out")
    return Reason(
        "activation, σ_w",
        f"{candidate.activation.name}, {candidate.gamma / bench.horizon:g}",
        f"training under Θ_∞, {FOLDS}-fold on the training split: of {sum(r.tied for r in plan.ranked)} of "
        f"{len(plan.ranked)} candidates within one standard error of the least error the smoothest, then the "
        "one that the law c/√n asks the least width of, then the least held-out loss; only σ_w·T matters",
        f"{bench.problem.measure} {first.prediction.error(first.steps):.4g} ± "
        f"{float(errors.std()) / len(errors) ** 0.5:.2g} after {first.steps} steps{wrong}; "
        f"φ is {candidate.activation.profile.smoothness_class}; λ_min {spectrum.lambda_min:.2g} "
        f"{floor}, condition number {spectrum.condition_number:.2g}",
        "; ".join(thin),
    )


def _width(bench: Bench, plan: Plan) -> Reason:
    need = plan.option.need
    thin = [need.thin] if need.thin else []
    if plan.distances[-1].mean > need.distance:
        thin.append(f"{plan.wanted} is the widest choice, and not wide enough")
    if plan.fit.width < plan.wanted:
        thin.append(
            f"{plan.wanted} is wanted, {_limits(bench)} no more: distance {need.at(plan.fit.width):.2f}"
        )
    timed = ", ".join(
        f"n = {cost.width}: {cost.step:.2g} s a step" for cost in (fit.cost for fit in plan.timed)
    )
    return Reason(
        "width",
        str(plan.fit.width),
        f"the kernel of all outputs within {need.distance:g} of its limit; the distance falls as c/√n",
        f"c = {need.constant:.2f}, by {need.measured}; the law asks for {need.width}; measured there and on: "
        f"{', '.join(map(str, plan.distances))}; {timed}",
        "; ".join(thin),
    )


def _few(runs: int) -> str:
    return "" if runs >= FEW_RUNS else f"{runs} run{'s' if runs > 1 else ''} of that setting"


def _shorter(plan: Plan) -> str:
    measured, asked = plan.fit.way.row.gamma, plan.option.candidate.gamma
    return f"not measured below σ_w·T = {measured:g}" if asked < min(measured, 1.0) else ""


def _limits(bench: Bench) -> str:
    given = {"budget": bench.request.budget, "memory": bench.request.memory}
    told = [f"{name}={value:g}" for name, value in given.items() if value is not None]
    return " and ".join(told) + (" bear" if len(told) > 1 else " bears")


def _solver(bench: Bench, plan: Plan) -> Reason:
    row = plan.fit.way.row
    return Reason(
        "solver, steps",
        f"{row.solver}, {row.steps}",
        f"the cheapest measured whose gradient error is at most {bench.bound:.2g}, with which the final loss "
        f"changes by less than {CHANGE:.0%}",
        f"gradient error {row.error:.2g} at σ_w·T = {row.gamma:g} ({row.activation}, {row.dataset}, runs: "
        f"{row.runs}); training bears {bench.bound_told}",
        "; ".join(filter(None, (plan.fit.way.thin, _few(row.runs), _shorter(plan)))),
    )


def _gradient(bench: Bench, plan: Plan) -> Reason:
    name, allowed = plan.fit.way.gradient, bench.request.memory
    cost = next((c for c in bench.evidence.costs if c.gradient == name), None)
    told = (
        []
        if cost is None
        else [f"{cost.seconds:.2f} times the seconds of backprop in {cost.problems} problems"]
    )
    rule = "the cheapest with which that error is kept"
    if plan.fit.memory is not None:
        rule = "the fastest of the same gradient within the memory"
        told.append(f"{plan.fit.memory:.0f} MiB measured here, memory={allowed:g} allows as much")
    return Reason("gradient method", name, rule, "; ".join(told))


def _rate(bench: Bench, plan: Plan) -> Reason:
    """λ_max grows in proportion to the number of samples."""
    samples, used = len(bench.data.train), len(bench.problem)
    largest = plan.option.prediction.spectrum.lambda_max * samples / used
    scaled = f", scaled from {used} samples" if used < samples else ""
    far = abs(plan.fit.cost.lambda_max / largest - 1) > FAR_OFF
    return Reason(
        "learning rate",
        f"auto ({1 / plan.fit.cost.lambda_max:.3g})",
        "1/λ_max of the full training kernel, half of what is stable; optimizer.lr=auto measures it",
        f"this network's λ_max is {plan.fit.cost.lambda_max:.4g}, that of Θ_∞ {largest:.4g}{scaled}",
        "predictions are of the limit's rate, to which a wider network's is closer" if far else "",
    )


def _steps(bench: Bench, plan: Plan) -> Reason:
    budget = bench.request.budget
    told = (
        f"{plan.seconds:.3g} s of training alone, by {plan.fit.cost.step:.2g} s a step and "
        f"{plan.fit.cost.start:.2g} s for λ_max; the process's start and other metrics come on top"
    )
    if budget is None:
        return Reason("training steps", str(plan.steps), "as the config has it; budget=SECONDS chooses", told)
    rule = "the fewest within one standard error of the least predicted error"
    thin = ["the machine's load at this moment counts"]
    if plan.curtailed:
        rule += " of those that the budget bears"
        thin.append(f"the least error takes more than budget={budget:g} bears")
    return Reason("training steps", str(plan.steps), rule, told, "; ".join(thin))
