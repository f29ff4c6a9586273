"""What a configuration costs on this machine, measured on a few gradients of the very model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ntkode.data import DataModule
from ntkode.gradients import Objective, allocated_peak, loss_gradient
from ntkode.losses import Loss
from ntkode.models import ODEModel
from ntkode.ntk import REPRODUCIBLE_BYTES, kernel_operator, lanczos

REPEATS = 2
# Steps between evaluations of the test split, as conf/metrics/cheap.yaml has it.
EVALUATED_EVERY = 10
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Cost:
    """Seconds on this machine, one process; the start of the process is not counted.

    Attributes:
        width: n.
        step: a gradient on all training samples, the better of two after one to warm up.
        evaluation: the test split's outputs.
        start: λ_max of the full training kernel, for `optimizer.lr=auto`.
        lambda_max: that eigenvalue.
    """

    width: int
    step: float
    evaluation: float
    start: float
    lambda_max: float

    def run(self, steps: int) -> float:
        """Of training so many steps with metrics=cheap."""
        return self.start + steps * (self.step + self.evaluation / EVALUATED_EVERY)

    def steps_within(self, seconds: float) -> int:
        """The most steps of a run that takes no longer; 0 where not one fits."""
        return max(0, int((seconds - self.start) / (self.step + self.evaluation / EVALUATED_EVERY)))


def measure_cost(model: ODEModel, data: DataModule, loss: Loss) -> Cost:
    """Measure what training `model` on `data` costs.

    Raises:
        SolverFailure: the ODE could not be solved.
    """
    train, test = data.train, data.test
    objective = _objective(model, data, loss)
    _ = loss_gradient(model, objective)
    step = min(_seconds(lambda: loss_gradient(model, objective)) for _ in range(REPEATS))
    with torch.no_grad():
        evaluation = _seconds(lambda: model(test.x))
    began = time.perf_counter()
    operator = kernel_operator(model, train.x, max_bytes=REPRODUCIBLE_BYTES)
    largest = lanczos(operator, loss.residual(torch.zeros_like(train.y), train.y)).lambda_max
    width = int(next(p for name, p in model.named_parameters() if name.split(".")[-1] == "W").shape[0])
    return Cost(width, step, evaluation, time.perf_counter() - began, largest)


def measure_memory(model: ODEModel, data: DataModule, loss: Loss) -> float:
    """MiB that one gradient allocates at the most."""
    objective = _objective(model, data, loss)
    device = next(model.parameters()).device
    return allocated_peak(lambda: _drop(loss_gradient(model, objective)), device) / MEBIBYTE


def _objective(model: ODEModel, data: DataModule, loss: Loss) -> Objective:
    with torch.no_grad():
        return Objective(loss, data.train.x, data.train.y, model(data.train.x))


def _drop(value: object) -> None:
    del value


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
