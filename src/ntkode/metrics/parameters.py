"""Distance of the parameters from their initialisation."""

from __future__ import annotations

import torch
from torch import Tensor

from ntkode.metrics.base import Metric, Values
from ntkode.training import TrainingModule


class ParameterDistance(Metric):
    """`params/distance` = ‖θ_k − θ₀‖ / ‖θ₀‖ over all parameters; `params/distance/<name>` of each parameter.

    A parameter that is zero at initialisation has no separate value.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """`params/distance`; single parameters may be zero at initialisation."""
        return {"params/distance"}

    def prepare(self, module: TrainingModule) -> None:
        """Store a copy of θ₀."""
        self._initial = {n: p.detach().clone() for n, p in module.model.named_parameters()}

    def measure(self, module: TrainingModule) -> Values:
        """Relative distances, from norms in float64."""
        moved = {
            n: _norm(p.detach().double() - self._initial[n].double())
            for n, p in module.model.named_parameters()
        }
        start = {n: _norm(p.double()) for n, p in self._initial.items()}
        whole = torch.stack(list(moved.values())).norm() / torch.stack(list(start.values())).norm()
        blocks = {f"params/distance/{n}": float(moved[n] / start[n]) for n in moved if start[n] > 0}
        return {"params/distance": float(whole)} | blocks


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x)
