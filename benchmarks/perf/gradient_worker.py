"""One measurement of a gradient method, in a separate process: `python gradient_worker.py spec.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gradient_peers import PEERS
from stopwatch import Stopwatch

from ntkode.gradients import Gradient, Objective, allocated_peak, fine_twin, loss_gradient
from ntkode.gradients.reference import relative_error
from ntkode.integrate import (
    Adjoint,
    Backprop,
    Checkpointed,
    GradientMethod,
    KinkAveraged,
    Reversible,
    Solver,
)
from ntkode.losses import SquaredError
from ntkode.models import NeuralODE

FEATURES, OUTPUTS, STEPS = 784, 10, 10
OURS: dict[str, GradientMethod] = {
    "backprop": Backprop(),
    "adjoint": Adjoint(),
    "checkpointed": Checkpointed(),
    "reversible": Reversible(),
    "kink_averaged": KinkAveraged(),
}
# Smaller than any measured problem: first calls load libraries and fill caches.
WARM_UP = (8, 16)


@dataclass(frozen=True)
class Problem:
    """A loss to differentiate: φ, N samples, width n, and the seed of every number."""

    activation: str
    samples: int
    width: int
    seed: int = 0

    def draw(self) -> tuple[NeuralODE, Objective]:
        """The model at initialisation and its loss, float32."""
        torch.manual_seed(self.seed)
        solver = Solver("rk4", steps=STEPS)
        model = NeuralODE(FEATURES, self.width, OUTPUTS, activation=self.activation, solver=solver)
        x = torch.randn(self.samples, FEATURES)
        x *= FEATURES**0.5 / x.norm(dim=1, keepdim=True)
        return model, Objective(SquaredError(), x, 0.3 * torch.randn(self.samples, OUTPUTS))

    def smallest(self) -> Problem:
        """The small problem for the warm-up, with the same activation."""
        return Problem(self.activation, *WARM_UP)


def installed(name: str) -> bool:
    """Whether a contestant can be measured here."""
    return name in OURS or PEERS[name].version is not None


def gradient(model: NeuralODE, objective: Objective, name: str) -> Gradient:
    """The loss gradient ∂L/∂θ computed by a contestant, by parameter name."""
    return loss_gradient(model.solved_by(model.solver, OURS.get(name) or PEERS[name]), objective)


def warmed_up(problem: Problem, name: str) -> Callable[[], None]:
    """A function that computes one gradient of the problem, after a warm-up on a small problem."""
    gradient(*problem.smallest().draw(), name)
    model, objective = problem.draw()

    def call() -> None:
        gradient(model, objective, name)

    return call


def seconds(problem: Problem, name: str, watch: Stopwatch) -> dict[str, Any]:
    """Seconds of one gradient: the best and all repeats."""
    taken = watch.taken(warmed_up(problem, name))
    return {key: taken[key] for key in ("seconds", "repeats")}


def memory(problem: Problem, name: str, watch: Stopwatch) -> dict[str, Any]:
    """Peak memory of one gradient in bytes, resident and allocated."""
    call = warmed_up(problem, name)
    taken = watch.taken(call)
    return {"resident": taken["memory"], "allocated": allocated_peak(call, torch.device("cpu"))}


def errors(problem: Problem, steps: int, names: list[str]) -> dict[str, Any]:
    """Errors against a reference with `steps` steps, and the reference's error, by halving its steps."""
    model, objective = problem.draw()
    reference, coarse = (loss_gradient(fine_twin(model, s), objective) for s in (steps, steps // 2))
    by_name = {}
    for name in filter(installed, names):
        try:
            by_name[name] = relative_error(gradient(model, objective, name), reference)
        except Exception:
            # Another library may fail with a newer PyTorch; its cost row holds the reason.
            if name in OURS:
                raise
    return {"reference_error": relative_error(coarse, reference), "errors": by_name}


def agreement(problem: Problem) -> dict[str, Any]:
    """Relative difference of checkpointed from backprop in float64."""
    model, objective = problem.draw()
    double = model.in_double()
    checkpointed, backprop = (gradient(double, objective, name) for name in ("checkpointed", "backprop"))
    return {"difference": relative_error(checkpointed, backprop)}


def main(spec: dict[str, Any]) -> None:
    """Carry out the measurement of `spec` and store its result, or the reason for its failure."""
    torch.set_num_threads(1)
    watch = Stopwatch(
        Path(spec["folder"]),
        spec["limit_seconds"],
        repeats=spec.get("repeats", 1),
        short_seconds=spec["limit_seconds"],
        least_seconds=spec.get("least_seconds", 0.0),
    )
    problem = Problem(**spec["problem"])
    if spec["task"] in ("errors", "agreement"):
        watch.start()
    tasks: dict[str, Callable[[], dict[str, Any]]] = {
        "seconds": lambda: seconds(problem, spec["contestant"], watch),
        "memory": lambda: memory(problem, spec["contestant"], watch),
        "errors": lambda: errors(problem, spec["reference_steps"], spec["contestants"]),
        "agreement": lambda: agreement(problem),
    }
    try:
        watch.write(**tasks[spec["task"]]())
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        watch.write(error=f"{type(error).__name__}: {reason[:200]}")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
