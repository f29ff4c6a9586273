"""What every metric does: declare when it applies, measure on a schedule, disturb nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import lightning as L
import torch

from ntkode.training import TrainingModule

Values = dict[str, float]
R = TypeVar("R")


class Metric(L.Callback):
    """A measurement at θ_k for k = 0, `every`, 2·`every`, … and after the last step.

    Subclasses define `measure`, and where needed `applies`, `names` and `prepare`. The random state
    and the parameters' gradients are as before when a measurement is over; its time is added to the
    module's `metric_seconds`.

    Args:
        every: steps between measurements; None for the first and after the last step only.

    Raises:
        ValueError: `every` below 1.
    """

    def __init__(self, every: int | None = 1) -> None:
        if every is not None and (not isinstance(every, int) or every < 1):
            raise ValueError(f"a metric's every={every} must be an integer ≥ 1, as in metrics.ntk.every=20")
        self.every = every
        self._applies = False

    def applies(self, module: TrainingModule) -> bool:
        """Whether the metric means something for this run."""
        return True

    def names(self, module: TrainingModule) -> set[str]:
        """Names that a run to which the metric applies must have measured, all finite."""
        raise NotImplementedError

    def prepare(self, module: TrainingModule) -> None:
        """Keep what is needed of θ₀."""

    def measure(self, module: TrainingModule) -> Values:
        """The values at the present parameters."""
        raise NotImplementedError

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Decide whether the metric applies, and prepare it."""
        self._applies = self.applies(pl_module)
        if self._applies:
            undisturbed(pl_module, self.prepare)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Measure at θ_k on schedule."""
        if self._due(batch_idx):
            pl_module.record(undisturbed(pl_module, self.measure))

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Measure after the last step."""
        if self._applies:
            pl_module.record(undisturbed(pl_module, self.measure))

    def _due(self, step: int) -> bool:
        return self._applies and (step == 0 if self.every is None else step % self.every == 0)


class ProbeMetric(Metric):
    """A metric on a probe of training samples.

    Args:
        probe_size: samples: the first of the training split.
        every: steps between measurements.

    Raises:
        ValueError: `probe_size` or `every` below 1.
    """

    def __init__(self, probe_size: int = 64, every: int = 50) -> None:
        super().__init__(every)
        if not isinstance(probe_size, int) or probe_size < 1:
            raise ValueError(
                f"a metric's probe_size={probe_size} must be an integer ≥ 1, as in metrics.ntk.probe_size=128"
            )
        self.probe_size = probe_size


class LossMetric(Metric):
    """A metric of the losses L_0 … L_k alone, measured when L_k is known."""

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Nothing: L_k is not known yet."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure on schedule; the row of step k is still open."""
        if self._due(batch_idx):
            pl_module.record(undisturbed(pl_module, self.measure))


def undisturbed(module: TrainingModule, work: Callable[[TrainingModule], R]) -> R:
    """Do `work` on the module with the random state put back afterwards, and its time noted."""
    began = time.perf_counter()
    cuda = [module.device] if module.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        result = work(module)
    module.metric_seconds += time.perf_counter() - began
    return result
