"""What the run costs: evaluations, seconds, memory."""

from __future__ import annotations

import resource
import sys

import torch

from ntkode.metrics.base import LossMetric, Values
from ntkode.training import TrainingModule

MEBIBYTE = 2**20


class Cost(LossMetric):
    """Cost of the newest step, and of all metrics so far.

    `cost/nfe_forward` and `cost/nfe_backward`: evaluations of the vector field in one step's forward
    pass, and evaluations with vector–Jacobian products in its backward pass. `cost/step_seconds`: one
    training step without metrics. `cost/metric_seconds`: all metrics so far, and
    `cost/metric_seconds/<metric>` each of them. `cost/peak_memory`: MiB,
    of the device's allocations on CUDA, else of the process's resident set, so far and with all that was
    measured: with `metrics=cheap` and a numeric `optimizer.lr` it is that of training.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """All of them."""
        measured = ("nfe_forward", "nfe_backward", "step_seconds", "metric_seconds", "peak_memory")
        return {f"cost/{name}" for name in measured}

    def measure(self, module: TrainingModule) -> Values:
        """Read the counters."""
        return {
            "cost/nfe_forward": float(module.nfe_forward),
            "cost/nfe_backward": float(module.nfe_backward),
            "cost/step_seconds": module.step_seconds,
            "cost/metric_seconds": module.metric_seconds,
            "cost/peak_memory": peak_memory(module.device),
        } | {f"cost/metric_seconds/{name}": s for name, s in module.seconds_by_metric.items()}


def peak_memory(device: torch.device) -> float:
    """MiB at most allocated on a CUDA device, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MEBIBYTE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / MEBIBYTE if sys.platform == "darwin" else peak / 1024
