"""The LightningModule that trains a model and collects one row of measurements per step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import lightning as L
import torch
from torch import Tensor

from ntkode.checks import positive
from ntkode.data import DataModule, Split
from ntkode.gradients import Objective
from ntkode.integrate import NonFiniteState, SolveCost, SolverFailure, typed_failures
from ntkode.losses import Loss
from ntkode.models import ODEModel
from ntkode.ntk import REPRODUCIBLE_BYTES, SpectralMeasure, kernel_operator, lanczos
from ntkode.ranks import from_first, ranks, total

OptimizerFactory = Callable[..., torch.optim.Optimizer]


class Diverged(RuntimeError):
    """The loss or a parameter is no longer finite.

    Attributes:
        remedy: the override to try.
    """

    remedy = "optimizer.lr_factor=0.5 (with optimizer.lr=auto), or a smaller optimizer.lr"


class TrainingModule(L.LightningModule):
    """Minimises L(f − f₀, y) and gathers row k: the loss L_k and what metrics measure at θ_k.

    θ_k are the parameters before step k. All loggers receive a row when its step is complete; the last row,
    k = `steps`, holds the measurements after the last step.

    Args:
        model: the model to train, on the device and in the dtype of the training.
        loss: the loss L, a sum over samples.
        data: the data module, set up.
        optimizer: makes the optimizer from parameters and `lr`.
        learning_rate: η; "auto": lr_factor/λ_max of the full kernel at initialisation.
        lr_factor: c in η = c/λ_max.

    Attributes:
        losses: L_0, L_1, … during training; for minibatches scaled to the whole training set.
        metric_seconds: time in seconds that metrics have taken so far.
        seconds_by_metric: this time by the metric's name.
        step_seconds: time in seconds of the latest step.
        step_cost: evaluations of the vector field and solver steps, in the forward and the backward pass of
            the latest step.
        after_row: called with k after row k has been logged, between two steps, where checkpoints are taken.
    """

    def __init__(
        self,
        model: ODEModel,
        loss: Loss,
        data: DataModule,
        optimizer: OptimizerFactory,
        *,
        learning_rate: float | str = "auto",
        lr_factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.data = data
        self.losses: list[float] = []
        self.metric_seconds = 0.0
        self.seconds_by_metric: dict[str, float] = {}
        self.step_seconds = 0.0
        self.step_cost = SolveCost()
        self.after_row: Callable[[int], None] = _nothing
        self._row: dict[str, float] = {}
        self._optimizer = optimizer
        self._learning_rate = learning_rate
        self._lr_factor = lr_factor
        device = next(model.parameters()).device
        self._splits = {"train": _moved(data.train, device), "test": _moved(data.test, device)}
        for name, split in self._splits.items():
            self.register_buffer(f"_initial_{name}", self._initial_output(split.x))

    def _initial_output(self, x: Tensor) -> Tensor:
        """The initial output f₀, shape (N, k); zero if the model does not subtract it.

        Raises:
            NonFiniteState: f₀ is not finite.
        """
        with torch.no_grad():
            f = self.model(x)
        if not f.isfinite().all():
            raise NonFiniteState("the model's output is not finite at initialisation")
        return f if self.model.subtract_initial_output else torch.zeros_like(f)

    # ------------------------------------------------------------------ read by metrics

    @property
    def step(self) -> int:
        """The number k of completed steps."""
        return self.trainer.global_step

    def output(self, split: str) -> Tensor:
        """f − f₀ on the whole "train" or "test" split, shape (N, k), without gradient."""
        with torch.no_grad():
            return self.model(self.split(split).x) - self.get_buffer(f"_initial_{split}")

    def split(self, name: str) -> Split:
        """The "train" or "test" split, on the model's device."""
        return self._splits[name]

    def probe(self, size: int) -> Objective:
        """The loss on the first `size` training samples; each prefix of the split has balanced classes."""
        train, offset = self.split("train"), self.get_buffer("_initial_train")
        return Objective(self.loss, train.x[:size], train.y[:size], offset[:size])

    @cached_property
    def initial_measure(self) -> SpectralMeasure:
        """The spectral measure of the residual under the full training kernel at θ₀.

        It is computed at the first access, which must be at θ₀, and kept.
        """
        train = self.split("train")
        operator = kernel_operator(self.model, train.x, max_bytes=REPRODUCIBLE_BYTES)
        return lanczos(operator, self.loss.residual(self.output("train"), train.y))

    @cached_property
    def learning_rate(self) -> float:
        """The learning rate η.

        Raises:
            ValueError: `learning_rate` is neither "auto" nor a positive number, `lr_factor` is not positive,
                or the kernel is zero.
        """
        if self._learning_rate != "auto":
            return positive("optimizer.lr", self._learning_rate)
        return from_first(self._automatic_rate)

    def _automatic_rate(self) -> float:
        factor, largest = positive("optimizer.lr_factor", self._lr_factor), self.initial_measure.lambda_max
        if not largest > 0:
            raise ValueError(
                f"optimizer.lr=auto needs a kernel with λ_max > 0, but λ_max is {largest}: "
                "set model.sigma_u and model.sigma_v above 0, or optimizer.lr=0.1"
            )
        return factor / largest

    @property
    def descends_gradient(self) -> bool:
        """Whether training is plain full-batch gradient descent on the squared error: the theory's case."""
        optimizer = self.trainer.optimizers[0]
        return (
            self.loss.name == "squared"
            and self.data.batch_size is None
            and type(optimizer) is torch.optim.SGD
            and all(g["momentum"] == 0 and g["weight_decay"] == 0 for g in optimizer.param_groups)
        )

    def record(self, values: dict[str, float]) -> None:
        """Add measurements, by metric name, to the present row."""
        self._row.update(values)

    # ------------------------------------------------------------------ Lightning's hooks

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer of all parameters, with learning rate η."""
        return self._optimizer(self.model.parameters(), lr=self.learning_rate)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Start the timer of the step; metrics do not count."""
        self._step_began = self.clock() - self.metric_seconds

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss L on the batch.

        Raises:
            Diverged: the loss is not finite, or the ODE could not be solved because training diverges.
            SolverFailure: the ODE could not be solved for another reason.
        """
        indices, x, y = batch
        with self._as_divergence(batch_idx):
            f = self.model(x)
        loss = self.loss(f - self.get_buffer("_initial_train")[indices], y)
        samples = len(x) * ranks()
        self._note_loss(total(loss.detach()) * len(self.data.train.x) / samples, batch_idx)
        # DDP averages the gradients of the ranks, and L is a sum over samples.
        return loss if ranks() == 1 else loss * ranks()

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Backpropagate; an adjoint method solves an ODE here, which may fail as in `training_step`."""
        with self._as_divergence(self.step), typed_failures(self.model.solver):
            loss.backward(*args, **kwargs)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take the step (forward and backward pass included), and read its clock and counters."""
        super().optimizer_step(*args, **kwargs)
        self.step_seconds = self.clock() - self.metric_seconds - self._step_began
        self.step_cost = self.model.cost

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log row k; after the last step, start the last row with the final loss.

        Raises:
            Diverged: a parameter or the final loss is not finite.
        """
        self._write_row(batch_idx)
        if not all(p.isfinite().all() for p in self.model.parameters()):
            raise self._divergence("a parameter is not finite", batch_idx + 1)
        if batch_idx + 1 == self.data.steps and self.trainer.is_global_zero:
            with self._as_divergence(batch_idx + 1):
                f = self.output("train")
            self._note_loss(float(self.loss(f, self.split("train").y)), batch_idx + 1)
        self.after_row(batch_idx)

    def on_train_end(self) -> None:
        """Log the last row, of k = `steps`."""
        self._write_row(self.data.steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add to a checkpoint what later rows need of θ₀ and of the rows so far."""
        measure = vars(self).get("initial_measure")
        checkpoint["training"] = {
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "learning_rate": self.learning_rate,
            "initial_measure": None if measure is None else (measure.ritz_values, measure.weights),
            "metric_seconds": self.metric_seconds,
            "seconds_by_metric": dict(self.seconds_by_metric),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state from a checkpoint, without recomputing anything at θ₀."""
        kept = checkpoint["training"]
        self.losses = kept["losses"].tolist()
        self.metric_seconds = kept["metric_seconds"]
        self.seconds_by_metric = kept["seconds_by_metric"]
        # Cached properties are stored in the instance's dict.
        vars(self)["learning_rate"] = kept["learning_rate"]
        if kept["initial_measure"] is not None:
            vars(self)["initial_measure"] = SpectralMeasure(*kept["initial_measure"])

    def note_metric_seconds(self, metric: str, seconds: float) -> None:
        """Add `seconds` to the time of a metric."""
        self.metric_seconds += seconds
        self.seconds_by_metric[metric] = self.seconds_by_metric.get(metric, 0.0) + seconds

    def clock(self) -> float:
        """The time in seconds, after the device has completed all pending work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    # ------------------------------------------------------------------ rows

    def _note_loss(self, loss: float, step: int) -> None:
        if not math.isfinite(loss):
            raise self._divergence("the loss is not finite", step)
        self.losses.append(loss)
        first = self.losses[0]
        self.record({"loss/train": loss, "loss/ratio": loss / first if first > 0 else math.nan})

    @contextmanager
    def _as_divergence(self, step: int) -> Iterator[None]:
        """Raise a `SolverFailure` as `Diverged` if the training causes it.

        That is so after step 0, if the state is not finite or the loss is at least its initial value.
        """
        try:
            yield
        except SolverFailure as failure:
            diverges = isinstance(failure, NonFiniteState) or self.losses[-1] >= self.losses[0]
            if step == 0 or not diverges:
                raise
            raise self._divergence(failure.problem, step) from failure

    def _divergence(self, problem: str, step: int) -> Diverged:
        return Diverged(f"{problem}, at step {step} with learning rate {self.learning_rate:.3g}")

    def _write_row(self, step: int) -> None:
        for logger in self.loggers:
            logger.log_metrics(dict(self._row), step=step)
        self._row = {}


def _nothing(step: int) -> None:
    """The default of `after_row`: do nothing."""


def _moved(split: Split, device: torch.device) -> Split:
    labels = None if split.labels is None else split.labels.to(device)
    return Split(split.x.to(device), split.y.to(device), labels)
