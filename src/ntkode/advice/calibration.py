"""Cost of a configuration on this machine, measured on the first steps of its training."""

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
from ntkode.studies.preparation import build_model, build_trainer, seed_everything, training_module

# Timed steps: at most TIMED_STEPS, fewer if they exceed TIMED_SECONDS, at least LEAST_STEPS.
TIMED_STEPS = 12
LEAST_STEPS = 3
TIMED_SECONDS = 2.0
MEBIBYTE = 2**20


@dataclass(frozen=True)
class TrainingCost:
    """Seconds of training with metrics=cheap on this machine, without the start of the process.

    Attributes:
        width: n.
        step: seconds per step, the median over the first steps.
        evaluation: seconds to evaluate the test split.
        every: number of steps between evaluations.
        start: seconds to compute λ_max of the full training kernel, for `optimizer.lr=auto`.
        lambda_max: λ_max of the full training kernel.
    """

    width: int
    step: float
    evaluation: float
    every: int
    start: float
    lambda_max: float

    def run(self, steps: int) -> float:
        """Seconds of a training of `steps` steps."""
        return self.start + steps * self._each

    def steps_within(self, seconds: float) -> int:
        """The largest number of steps that fits in `seconds`; 0 if none does."""
        return max(0, int((seconds - self.start) / self._each))

    @property
    def _each(self) -> float:
        return self.step + self.evaluation / self.every


class _Clock(L.Callback):
    """Records the end time of each step and stops the training after enough steps."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.ends.append(time.perf_counter())
        late = self.ends[-1] - self.ends[0] > TIMED_SECONDS
        if len(self.ends) >= (LEAST_STEPS if late else TIMED_STEPS):
            trainer.should_stop = True

    @property
    def step(self) -> float:
        """Median seconds per step, without the first step, which includes the warm-up."""
        return median(after - before for before, after in zip(self.ends, self.ends[1:], strict=False))


def measure_cost(config: Config, data: DataModule) -> TrainingCost:
    """Train a few steps with `config` and measure their cost.

    Args:
        config: a config of study=training with metrics=cheap and `optimizer.lr=auto`.
        data: its data, set up for `TIMED_STEPS` steps.

    Raises:
        SolverFailure: the ODE could not be solved.
        Diverged: the loss is not finite.
    """
    seed_everything(config)
    clock = _Clock()
    callbacks = [*build(config["metrics"]).values(), clock]
    trainer = build_trainer(config, callbacks=callbacks, logger=False)
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
    """Peak memory that one gradient allocates, in MiB.

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
