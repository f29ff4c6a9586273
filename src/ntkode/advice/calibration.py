"""What a configuration costs on this machine, measured on the first steps of the very training."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import lightning as L
import torch

from ntkode.data import DataModule
from ntkode.gradients import Objective, allocated_peak, loss_gradient
from ntkode.studies.base import Config, build
from ntkode.studies.preparation import build_model, seed_everything, training_module

# Steps that are timed, or as many as fit the seconds, but some in any case.
TIMED_STEPS = 12
LEAST_STEPS = 3
TIMED_SECONDS = 2.0
MEBIBYTE = 2**20


@dataclass(frozen=True)
class TrainingCost:
    """Seconds of training with metrics=cheap on this machine; the start of the process is not counted.

    Attributes:
        width: n.
        step: the median over the first steps.
        evaluation: the test split's outputs.
        every: steps from one evaluation to the next.
        start: λ_max of the full training kernel, for `optimizer.lr=auto`.
        lambda_max: that eigenvalue.
    """

    width: int
    step: float
    evaluation: float
    every: int
    start: float
    lambda_max: float

    def run(self, steps: int) -> float:
        """Of training so many steps."""
        return self.start + steps * self._each

    def steps_within(self, seconds: float) -> int:
        """The most steps of a run that takes no longer; 0 where not one fits."""
        return max(0, int((seconds - self.start) / self._each))

    @property
    def _each(self) -> float:
        return self.step + self.evaluation / self.every


class _Clock(L.Callback):
    """Notes when each step ends, and ends the training once enough are known."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.ends.append(time.perf_counter())
        late = self.ends[-1] - self.ends[0] > TIMED_SECONDS
        if len(self.ends) >= (LEAST_STEPS if late else TIMED_STEPS):
            trainer.should_stop = True

    @property
    def step(self) -> float:
        """Seconds, the median; the first step, which warms up, is not among them."""
        return median(after - before for before, after in zip(self.ends, self.ends[1:], strict=False))


def measure_cost(config: Config, data: DataModule) -> TrainingCost:
    """Train a few steps by `config`, and measure what they cost.

    Args:
        config: of study=training, with metrics=cheap and `optimizer.lr=auto`.
        data: its data, set up for `TIMED_STEPS` steps.

    Raises:
        SolverFailure: the ODE could not be solved.
        Diverged: the loss is not finite.
    """
    seed_everything(config)
    clock = _Clock()
    callbacks = [*build(config["metrics"]).values(), clock]
    trainer: L.Trainer = build(config["trainer"])(callbacks=callbacks, logger=False)
    model = build_model(config, data, trainer.strategy.root_device)
    module = training_module(config, data, model, config["optimizer"]["lr"])
    began = time.perf_counter()
    largest = config["optimizer"]["lr_factor"] / module.learning_rate
    start = time.perf_counter() - began
    trainer.fit(module, datamodule=data)
    began = time.perf_counter()
    with torch.no_grad():
        _ = model(data.test.x)
    evaluation = time.perf_counter() - began
    width, every = int(config["model"]["width"]), int(config["metrics"]["evaluation"]["every"])
    return TrainingCost(width, clock.step, evaluation, every, start, largest)


def measure_memory(config: Config, data: DataModule) -> float:
    """MiB that one gradient allocates at the most.

    Raises:
        SolverFailure: the ODE could not be solved.
    """
    seed_everything(config)
    model = build_model(config, data, data.train.x.device)
    with torch.no_grad():
        objective = Objective(build(config["loss"]), data.train.x, data.train.y, model(data.train.x))

    def gradient() -> None:
        _ = loss_gradient(model, objective)

    return allocated_peak(gradient, data.train.x.device) / MEBIBYTE
