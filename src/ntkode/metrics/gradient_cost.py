"""What one gradient costs: seconds and memory, on the probe."""

from __future__ import annotations

import math

from ntkode.gradients import allocated_peak, loss_gradient
from ntkode.metrics.base import ProbeMetric, Values
from ntkode.metrics.cost import MEBIBYTE
from ntkode.training import TrainingModule

REPEATS = 3


class GradientCost(ProbeMetric):
    """`cost/gradient_seconds` and `cost/gradient_memory` of ∂L/∂θ on the probe, as trained.

    The best of three; and the MiB that the allocator hands out at most beyond what is there before.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """Both."""
        return {"cost/gradient_seconds", "cost/gradient_memory"}

    def measure(self, module: TrainingModule) -> Values:
        """Four gradients, of which the first has its memory watched."""
        objective = module.probe(self.probe_size)

        def call() -> None:
            loss_gradient(module.model, objective)

        memory = allocated_peak(call, module.device)
        seconds = math.inf
        for _ in range(REPEATS):
            began = module.clock()
            call()
            seconds = min(seconds, module.clock() - began)
        return {"cost/gradient_seconds": seconds, "cost/gradient_memory": memory / MEBIBYTE}
