"""The loss of the ODE itself, whatever solver the training goes by."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ntkode.gradients import fine_twin
from ntkode.metrics.base import Metric, Values
from ntkode.training import TrainingModule

# RK4 steps a unit of σ_w·T: 1e-8 of the state for smooth φ.
STEPS = 40


class ExactLoss(Metric):
    """`loss/exact`: L of the flow solved finely in float64, on the training set; `loss/exact_ratio`: L_k/L_0.

    A coarse solve can be trained as a network of its own and be far from its ODE, which `loss/train` hides.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """Both."""
        return {"loss/exact", "loss/exact_ratio"}

    def prepare(self, module: TrainingModule) -> None:
        """f₀ and L_0."""
        f = self._output(module)
        self._offset = f if module.model.subtract_initial_output else torch.zeros_like(f)
        self._first = self._loss(module, f)

    def measure(self, module: TrainingModule) -> Values:
        """One fine solve of the training set."""
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
