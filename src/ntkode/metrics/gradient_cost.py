"""What one gradient costs: seconds and memory, on the probe."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from ntkode.gradients import loss_gradient
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


def allocated_peak(call: Callable[[], None], device: torch.device) -> int:
    """Bytes that `call` has allocated at the most at a time, by PyTorch's allocator."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        call()
    # The public tables sum allocations by operator; their course in time is in the raw events alone.
    events = watched.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    held = highest = 0
    for _, change in changes:
        held += change
        highest = max(highest, held)
    return highest
