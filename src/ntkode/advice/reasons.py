"""The reasons for each choice, in words and numbers."""

from __future__ import annotations

from collections.abc import Sequence

from ntkode.advice.calibration import Cost
from ntkode.advice.evidence import Evidence
from ntkode.advice.prediction import FOLDS, Prediction, Problem, Ranked, Refused
from ntkode.advice.rules import CHANGE, Reason, Way, WidthNeed

# Samples below which a held-out error is called thin.
FEW_SAMPLES = 200


def activation_reason(
    problem: Problem, ranked: Sequence[Ranked], refused: Sequence[Refused], horizon: float
) -> Reason:
    """Activation and σ_w."""
    first = ranked[0]
    candidate, spectrum = first.prediction.candidate, first.prediction.spectrum
    tied = sum(r.tied for r in ranked)
    floor = "below its resolution: not told from zero" if spectrum.below_resolution else "positive"
    thin = [f"{len(problem)} samples"] if len(problem) < FEW_SAMPLES else []
    if refused:
        thin.append(f"nothing is predicted for {len(refused)} candidates")
    return Reason(
        "activation, σ_w",
        f"{candidate.activation.name}, {candidate.gamma / horizon:g}",
        f"training under Θ_∞, {FOLDS}-fold on the training split: of {tied} of {len(ranked)} "
        "candidates within one standard error of the least error the smoothest, then the narrowest, then "
        "the least held-out loss; only σ_w·T matters",
        f"{problem.measure} {first.prediction.error(first.steps):.4g} ± {_own_noise(first):.2g} (least "
        f"{_least(ranked):.4g}) after {first.steps} steps on {len(problem)} samples; "
        f"φ is {candidate.activation.profile.smoothness_class}; λ_min {spectrum.lambda_min:.2g} "
        f"{floor}, condition number {spectrum.condition_number:.2g}",
        "; ".join(thin),
    )


def _own_noise(r: Ranked) -> float:
    errors = r.prediction.errors[r.steps]
    return float(errors.std()) / len(errors) ** 0.5


def _least(ranked: Sequence[Ranked]) -> float:
    return min(r.prediction.error(r.steps) for r in ranked)


def width_reason(
    need: WidthNeed, width: int, widest: int, costs: Sequence[Cost], budget: float | None
) -> Reason:
    """Width."""
    thin = [need.thin] if need.thin else []
    if width < need.width:
        why = f"{widest} is the widest choice" if width == widest else f"budget={budget:g} bears no more"
        thin.append(f"the law asks for {need.width}; {why}, at a distance of {need.at(width):.2f}")
    timed = ", ".join(f"n = {cost.width}: {cost.step:.2g} s a step" for cost in costs)
    return Reason(
        "width",
        str(width),
        f"‖Θ_n − Θ_∞‖/‖Θ_∞‖ ≈ c/√n at most {need.distance:g}; here {need.at(width):.3f}",
        f"c = {need.constant:.2f} from {need.evidence}; measured here: {timed}",
        "; ".join(thin),
    )


def solver_reason(way: Way, bound: float, told: str) -> Reason:
    """Solver and steps."""
    row = way.row
    return Reason(
        "solver, steps",
        f"{way.solver}, {way.steps}",
        f"the cheapest whose gradient error is at most {bound:.2g}, with which the final loss changes by "
        f"less than {CHANGE:.0%}",
        f"gradient error {row.error:.2g} with {row.steps} steps at σ_w·T = {row.gamma:g} ({row.activation}, "
        f"{row.dataset}, runs: {row.runs}); training bears {told}",
        way.thin,
    )


def gradient_reason(way: Way, evidence: Evidence, memory: float | None, allowed: float | None) -> Reason:
    """Gradient method."""
    cost = next((c for c in evidence.costs if c.gradient == way.gradient), None)
    timed = (
        ""
        if cost is None
        else f"{cost.seconds:.2f} times the seconds of backprop in {cost.problems} problems"
    )
    if memory is not None:
        timed += f"; {memory:.0f} MiB measured here, memory={allowed:g} allows as much"
    return Reason(
        "gradient method",
        way.gradient,
        "the cheapest with which that error is kept" + ("" if memory is None else ", within the memory"),
        timed,
        "" if cost is not None and cost.problems > 1 else "few problems timed",
    )


def rate_reason(chosen: Prediction, samples: int, used: int, cost: Cost) -> Reason:
    """Learning rate; λ_max grows in proportion to the number of samples."""
    largest = chosen.spectrum.lambda_max * samples / used
    scaled = f", scaled from {used} samples" if used < samples else ""
    return Reason(
        "learning rate",
        f"auto ({1 / largest:.3g})",
        "1/λ_max of the full training kernel, half of what is stable; optimizer.lr=auto measures it",
        f"λ_max(Θ_∞) = {largest:.4g} on {samples} samples{scaled}; this network's: {cost.lambda_max:.4g}",
        "far from its limit: the network's λ_max differs by more than a third"
        if abs(cost.lambda_max / largest - 1) > 1 / 3
        else "",
    )


def steps_reason(
    chosen: Prediction, steps: int, affordable: int | None, cost: Cost, budget: float | None
) -> Reason:
    """Training steps."""
    if affordable is None:
        rule, asked = "as the config has it; budget=SECONDS chooses", "steps"
    else:
        asked = f"up to {affordable} steps fit budget={budget:g}"
        rule = "the fewest within one standard error of the least predicted error that the budget bears"
    predicted = f"; loss ratio {chosen.ratios[steps]:.3g} predicted" if steps in chosen.ratios else ""
    return Reason(
        "training steps",
        str(steps),
        rule,
        f"{asked}: {cost.run(steps):.3g} s, by {cost.step:.2g} s a step and {cost.start:.2g} s for λ_max"
        f"{predicted}",
        "the machine's load at this moment counts" if budget is not None else "",
    )
