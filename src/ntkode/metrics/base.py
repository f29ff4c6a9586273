"""Base classes of the metrics: applicability, schedule, and measurements without side effects."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import lightning as L
import torch

from ntkode.checks import count
from ntkode.integrate import SolverFailure
from ntkode.ntk import BlowUpError, NonFiniteKernelError
from ntkode.training import TrainingModule

Values = dict[str, float]
R = TypeVar("R")
# Errors that make a value NaN; the training continues.
UNMEASURABLE = (SolverFailure, NonFiniteKernelError, BlowUpError)
# Attributes that Lightning sets on a callback when training starts.
LIGHTNINGS = ("log", "log_dict")


class Metric(L.Callback):
    """A measurement at θ_k for k = 0, `every`, 2·`every`, … and after the last step.

    In a run with several ranks, rank 0 measures and keeps the values; the other ranks wait for it in the next
    step. A metric with `collective = True` is measured on all ranks, which share the work.

    Subclasses define `names` and `measure`, and override `applies` and `prepare` where needed. The base
    class restores the random state after each measurement and records its time on the module.
    Checkpoints keep all attributes of a metric: tensors, numbers, strings, and lists, tuples and dicts of
    them. A metric with attributes of other types overrides `kept` and `restore`.

    Args:
        every: steps between measurements; None: before the first and after the last step only.

    Attributes:
        active: whether the metric applies to the run; decided when training starts.
        collective: whether all ranks measure the metric together.

    Raises:
        ValueError: `every` is below 1.
    """

    collective = False

    def __init__(self, every: int | None = 1) -> None:
        self.every = None if every is None else count("a metric's every", every)
        self.active = False
        self._resumed = False

    def applies(self, module: TrainingModule) -> bool:
        """Whether the metric means something for this run."""
        return True

    def names(self, module: TrainingModule) -> set[str]:
        """Names of the values logged in every run to which the metric applies; all of them finite."""
        raise NotImplementedError

    def prepare(self, module: TrainingModule) -> None:
        """Store what measurements need of the initial parameters θ₀; called once, before the first step."""

    def measure(self, module: TrainingModule) -> Values:
        """The metric's values at the current parameters, by logged name."""
        raise NotImplementedError

    def kept(self) -> dict[str, Any]:
        """The metric's attributes as plain values and tensors, for a checkpoint."""
        return {name: value for name, value in vars(self).items() if name not in LIGHTNINGS}

    def restore(self, kept: dict[str, Any]) -> None:
        """Set the attributes that `kept` returned."""
        vars(self).update(kept)
        self._resumed = True

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Decide whether the metric applies, and prepare it, unless a checkpoint restored both."""
        if self._resumed:
            return
        self.active = self.applies(pl_module)
        self._prepared = self.active and self._undisturbed(pl_module, self._prepare)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Measure at θ_k on schedule."""
        if self._due(batch_idx):
            self._record(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Measure after the last step."""
        if self.active:
            self._record(pl_module)

    def _prepare(self, module: TrainingModule) -> bool:
        try:
            self.prepare(module)
        except UNMEASURABLE as error:
            warnings.warn(f"{type(self).__name__} cannot be measured in this run: {error}", stacklevel=1)
            return False
        return True

    def _record(self, module: TrainingModule) -> None:
        """Record the values, or NaN if the measurement fails; a failed measurement never ends a run."""
        values = dict.fromkeys(self.names(module), math.nan)
        if self._prepared:
            try:
                values = self._undisturbed(module, self.measure)
            except UNMEASURABLE as error:
                warnings.warn(f"{type(self).__name__} at step {module.step}: {error}", stacklevel=1)
        module.record(values)

    def _undisturbed(self, module: TrainingModule, work: Callable[[TrainingModule], R]) -> R:
        """Result of `work(module)`; then restore the random state and record the time on the module."""
        began = module.clock()
        cuda = [module.device] if module.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            result = work(module)
        module.note_metric_seconds(type(self).__name__, module.clock() - began)
        return result

    def _due(self, step: int) -> bool:
        return self.active and (step == 0 if self.every is None else step % self.every == 0)


class ProbeMetric(Metric):
    """A metric on a probe of training samples.

    Args:
        probe_size: number of samples, the first ones of the training split.
        every: steps between measurements.

    Raises:
        ValueError: `probe_size` or `every` is below 1.
    """

    def __init__(self, probe_size: int = 64, every: int | None = 50) -> None:
        super().__init__(every)
        self.probe_size = count("a metric's probe_size", probe_size)


class LossMetric(Metric):
    """A metric of the losses L_0, …, L_k alone, measured once L_k is known."""

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Nothing: L_k is not known yet."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure on schedule, into the row of step k."""
        if self._due(batch_idx):
            self._record(pl_module)
