"""The reason for each choice: rule, evidence and caveats as text."""

from __future__ import annotations

from collections.abc import Sequence

from ntkode.advice.measurements import Measurements
from ntkode.advice.plan import Plan
from ntkode.advice.prediction import FOLDS, Refused
from ntkode.advice.rules import CHANGE, Reason

# Evidence is flagged as weak below this number of samples, of misclassified samples, and of runs per setting.
FEW_SAMPLES = 200
FEW_WRONG = 10
FEW_RUNS = 3
# Relative deviation of the network's λ_max from the limit's above which it is flagged.
FAR_OFF = 0.5


def reasons(measurements: Measurements, plan: Plan, refused: Sequence[Refused]) -> list[Reason]:
    """One reason per choice, in the order of the output."""
    return [
        _activation(measurements, plan, refused),
        _width(measurements, plan),
        _solver(measurements, plan),
        _gradient(measurements, plan),
        _rate(measurements, plan),
        _steps(measurements, plan),
    ]


def _activation(measurements: Measurements, plan: Plan, refused: Sequence[Refused]) -> Reason:
    first, samples, of_all = plan.ranked[0], len(measurements.problem), len(measurements.data.train)
    candidate, spectrum = first.prediction.candidate, first.prediction.spectrum
    errors = first.prediction.errors[first.steps]
    floor = "is below its resolution" if spectrum.below_resolution else "is positive"
    caveats = [f"{samples} samples"] if samples < FEW_SAMPLES else []
    wrong = ""
    if measurements.problem.labels is not None:
        wrong = f", {int(errors.sum())} of {samples} samples wrong"
        if errors.sum() < FEW_WRONG:
            caveats.append("few wrong samples: single samples decide between candidates")
    if samples < of_all:
        caveats.append(f"cross-validated on {samples} of {of_all} training samples")
    if refused:
        caveats.append(f"{len(refused)} candidates were not compared")
    return Reason(
        "activation, σ_w",
        f"{candidate.activation.name}, {candidate.gamma / measurements.horizon:g}",
        f"training under Θ_∞, {FOLDS}-fold on the training split: {sum(r.tied for r in plan.ranked)} of "
        f"{len(plan.ranked)} candidates are within one standard error of the least error; of these the "
        "smoothest, then the narrowest by the law c/√n, then that of least held-out loss; only σ_w·T matters",
        f"{measurements.problem.measure} {first.prediction.error(first.steps):.4g} ± "
        f"{float(errors.std()) / len(errors) ** 0.5:.2g} after {first.steps} steps{wrong}; "
        f"φ is {candidate.activation.profile.smoothness_class}; λ_min {spectrum.lambda_min:.2g} "
        f"{floor}, condition number {spectrum.condition_number:.2g}",
        "; ".join(caveats),
    )


def _width(measurements: Measurements, plan: Plan) -> Reason:
    need = plan.option.need
    caveats = [need.caveat] if need.caveat else []
    if plan.distances[-1].mean > need.distance:
        caveats.append(f"{plan.wanted} is the widest choice, but too narrow for the distance")
    if plan.fit.width < plan.wanted:
        caveats.append(
            f"{plan.wanted} exceeds {_limits(measurements)}; expected distance {need.at(plan.fit.width):.2f}"
        )
    timed = ", ".join(
        f"n = {cost.width}: {cost.step:.2g} s per step" for cost in (fit.cost for fit in plan.timed)
    )
    return Reason(
        "width",
        str(plan.fit.width),
        f"the kernel of all outputs is within {need.distance:g} of its limit; the distance falls as c/√n",
        f"c = {need.constant:.2f}, from {need.measured}; the law gives width {need.width}; measured "
        f"distances: {', '.join(map(str, plan.distances))}; {timed}",
        "; ".join(caveats),
    )


def _few(runs: int) -> str:
    return "" if runs >= FEW_RUNS else f"only {runs} run{'s' if runs > 1 else ''} of this setting"


def _shorter(plan: Plan) -> str:
    measured, asked = plan.fit.solve.row.gamma, plan.option.candidate.gamma
    return f"not measured below σ_w·T = {measured:g}" if asked < min(measured, 1.0) else ""


def _limits(measurements: Measurements) -> str:
    given = {"budget": measurements.request.budget, "memory": measurements.request.memory}
    return " or ".join(f"{name}={value:g}" for name, value in given.items() if value is not None)


def _solver(measurements: Measurements, plan: Plan) -> Reason:
    row = plan.fit.solve.row
    return Reason(
        "solver, steps",
        f"{row.solver}, {row.steps}",
        f"the cheapest measured one with a gradient error of at most {measurements.bound:.2g}, which changes "
        f"the final loss by less than {CHANGE:.0%}",
        f"gradient error {row.error:.2g} at σ_w·T = {row.gamma:g} ({row.activation}, {row.dataset}, runs: "
        f"{row.runs}); tolerated gradient errors: {measurements.bound_source}",
        "; ".join(filter(None, (plan.fit.solve.caveat, _few(row.runs), _shorter(plan)))),
    )


def _gradient(measurements: Measurements, plan: Plan) -> Reason:
    name, allowed = plan.fit.solve.gradient, measurements.request.memory
    cost = next((c for c in measurements.evidence.costs if c.gradient == name), None)
    evidence = []
    if cost is not None:
        evidence.append(f"at most {cost.seconds:.2f} times the time of backprop in {cost.problems} problems")
    rule = "the cheapest one with that gradient error"
    if plan.fit.memory is not None:
        rule = "the fastest one with that gradient that fits the memory"
        evidence.append(f"{plan.fit.memory:.0f} MiB measured here, within memory={allowed:g}")
    return Reason("gradient method", name, rule, "; ".join(evidence))


def _rate(measurements: Measurements, plan: Plan) -> Reason:
    """The learning rate 1/λ_max; the limit's λ_max is scaled by the number of samples."""
    samples, used = len(measurements.data.train), len(measurements.problem)
    largest = plan.option.prediction.spectrum.lambda_max * samples / used
    scaled = f", scaled from {used} samples" if used < samples else ""
    far = abs(plan.fit.cost.lambda_max / largest - 1) > FAR_OFF
    return Reason(
        "learning rate",
        f"auto ({1 / plan.fit.cost.lambda_max:.3g})",
        "1/λ_max of the full training kernel, half the largest stable rate; optimizer.lr=auto measures it",
        f"λ_max is {plan.fit.cost.lambda_max:.4g} for this network, {largest:.4g} for Θ_∞{scaled}",
        "predictions assume the limit's rate; a wider network is closer to it" if far else "",
    )


def _steps(measurements: Measurements, plan: Plan) -> Reason:
    budget = measurements.request.budget
    evidence = (
        f"{plan.seconds:.3g} s of training, from {plan.fit.cost.step:.2g} s per step and "
        f"{plan.fit.cost.start:.2g} s for λ_max; starting the process and other metrics take extra time"
    )
    if budget is None:
        rule = "as in the config; budget=SECONDS selects a number"
        return Reason("training steps", str(plan.steps), rule, evidence)
    rule = "the fewest within one standard error of the least predicted error"
    caveats = ["timed under the machine's present load"]
    if plan.curtailed:
        rule += ", among those within the budget"
        caveats.append(f"the least error needs more than budget={budget:g}")
    return Reason("training steps", str(plan.steps), rule, evidence, "; ".join(caveats))
