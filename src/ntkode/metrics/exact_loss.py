"""The loss of the exact flow of the ODE, independent of the solver used in training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ntkode.gradients import fine_twin
from ntkode.metrics.base import Metric, Values
from ntkode.training import TrainingModule

# RK4 steps per unit of σ_w·T: relative error 1e-8 of the state for smooth φ.
STEPS = 40


class ExactLoss(Metric):
    """`loss/exact`: training loss L_k of the finely solved flow, in float64; `loss/exact_ratio`: L_k/L_0.

    With few solver steps the trained network can be far from its ODE; `loss/train` does not show this.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """The two logged names, `loss/exact` and `loss/exact_ratio`."""
        return {"loss/exact", "loss/exact_ratio"}

    def prepare(self, module: TrainingModule) -> None:
        """Store the output f₀, (N, k), of the fine solve, if it is subtracted, and the loss L_0."""
        f = self._output(module)
        self._offset = f if module.model.subtract_initial_output else torch.zeros_like(f)
        self._first = self._loss(module, f)

    def measure(self, module: TrainingModule) -> Values:
        """Solve the training set once, finely, and evaluate the loss."""
        loss = self._loss(module, self._output(module))
        return {
            "loss/exact": loss,
            "loss/exact_ratio": loss / self._first if self._first > 0 else float("nan"),
        }

    @torch.no_grad()
    def _output(self, module: TrainingModule) -> Tensor:
        steps = STEPS * max(1, math.ceil(module.model.scaled_horizon))
        f: Tensor = fine_twin(module.model, steps)(module.split("train").x.double())
        return f

    def _loss(self, module: TrainingModule, f: Tensor) -> float:
        return float(module.loss(f - self._offset, module.split("train").y.double()))
