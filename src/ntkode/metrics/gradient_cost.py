"""Seconds and memory of one gradient on the probe."""

from __future__ import annotations

import math

from ntkode.gradients import allocated_peak, loss_gradient
from ntkode.metrics.base import ProbeMetric, Values
from ntkode.metrics.cost import MEBIBYTE
from ntkode.training import TrainingModule

REPEATS = 3


class GradientCost(ProbeMetric):
    """`cost/gradient_seconds` and `cost/gradient_memory` of ∂L/∂θ on the probe, as trained.

    Seconds: the shortest of three calls. Memory: peak allocation of one call beyond the allocation before it,
    in MiB.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """The two logged names, `cost/gradient_seconds` and `cost/gradient_memory`."""
        return {"cost/gradient_seconds", "cost/gradient_memory"}

    def measure(self, module: TrainingModule) -> Values:
        """Compute four gradients: the first for its peak memory, three for their time."""
        objective = module.probe(self.probe_size)

        def differentiate() -> None:
            loss_gradient(module.model, objective)

        memory = allocated_peak(differentiate, module.device)
        seconds = math.inf
        for _ in range(REPEATS):
            began = module.clock()
            differentiate()
            seconds = min(seconds, module.clock() - began)
        return {"cost/gradient_seconds": seconds, "cost/gradient_memory": memory / MEBIBYTE}
