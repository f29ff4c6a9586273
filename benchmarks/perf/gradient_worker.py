"""One measurement of gradient methods, in a process of its own: `python gradient_worker.py spec.json`."""

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
# Smaller than any that is measured: first calls load libraries and fill their caches.
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
        """The problem to warm up with."""
        return Problem(self.activation, *WARM_UP)


def installed(name: str) -> bool:
    """Whether a contestant can be measured here."""
    return name in OURS or PEERS[name].version is not None


def gradient(model: NeuralODE, objective: Objective, name: str) -> Gradient:
    """∂L/∂θ by a contestant."""
    return loss_gradient(model.solved_by(model.solver, OURS.get(name) or PEERS[name]), objective)


def warmed_up(problem: Problem, name: str) -> Callable[[], None]:
    """One gradient of the problem, after one of a small problem."""
    gradient(*problem.smallest().draw(), name)
    model, objective = problem.draw()

    def call() -> None:
        gradient(model, objective, name)

    return call


def seconds(problem: Problem, name: str, watch: Stopwatch) -> dict[str, Any]:
    """Seconds of one gradient, the best and all."""
    taken = watch.taken(warmed_up(problem, name))
    return {key: taken[key] for key in ("seconds", "repeats")}


def memory(problem: Problem, name: str, watch: Stopwatch) -> dict[str, Any]:
    """Bytes of one gradient at the peak, resident and allocated."""
    call = warmed_up(problem, name)
    taken = watch.taken(call)
    return {"resident": taken["memory"], "allocated": allocated_peak(call, torch.device("cpu"))}


def errors(problem: Problem, steps: int, names: list[str]) -> dict[str, Any]:
    """Errors of the contestants against a reference of so many steps, and its own by halving them."""
    model, objective = problem.draw()
    reference, coarse = (loss_gradient(fine_twin(model, s), objective) for s in (steps, steps // 2))
    found = {}
    for name in filter(installed, names):
        try:
            found[name] = relative_error(gradient(model, objective, name), reference)
        except Exception:
            # Another library may fail on a newer PyTorch; the row of its cost tells how.
            if name in OURS:
                raise
    return {"reference_error": relative_error(coarse, reference), "errors": found}


def agreement(problem: Problem) -> dict[str, Any]:
    """Relative difference of checkpointed from backprop in float64."""
    model, objective = problem.draw()
    double = model.in_double()
    own, other = (gradient(double, objective, name) for name in ("checkpointed", "backprop"))
    return {"difference": relative_error(own, other)}


def main(spec: dict[str, Any]) -> None:
    """Measure what `spec` asks for, or write the reason why not."""
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
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "seconds": lambda: seconds(problem, spec["contestant"], watch),
        "memory": lambda: memory(problem, spec["contestant"], watch),
        "errors": lambda: errors(problem, spec["reference_steps"], spec["contestants"]),
        "agreement": lambda: agreement(problem),
    }
    try:
        watch.write(**ways[spec["task"]]())
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        watch.write(error=f"{type(error).__name__}: {reason[:200]}")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
