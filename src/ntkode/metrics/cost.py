"""What the run costs: evaluations, seconds, memory."""

from __future__ import annotations

import resource
import sys

import torch

from ntkode.gradients import cuda_peak
from ntkode.integrate import SolveCost
from ntkode.metrics.base import LossMetric, Values
from ntkode.training import TrainingModule

MEBIBYTE = 2**20
_WAYS = ("forward", "backward")
_COUNTS = {"nfe": "evaluations", "steps": "accepted", "rejected": "rejected"}


class Cost(LossMetric):
    """Cost of the newest step, and of all metrics so far.

    `cost/nfe_forward` and `cost/nfe_backward`: evaluations of the vector field in one step's forward
    pass, and evaluations with vector–Jacobian products in its backward pass; `cost/steps_forward`,
    `cost/steps_backward`, `cost/rejected_forward`, `cost/rejected_backward`: the solver's steps taken and
    given up there (by autograd, those of the forward pass). `cost/step_seconds`: one
    training step without metrics. `cost/metric_seconds`: all metrics so far, and
    `cost/metric_seconds/<metric>` each of them. `cost/peak_memory`: MiB,
    of the device's allocations on CUDA, else of the process's resident set, so far and with all that was
    measured: with `metrics=cheap` and a numeric `optimizer.lr` it is that of training.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """All of them."""
        measured = {f"cost/{what}_{way}" for what in _COUNTS for way in _WAYS}
        return measured | {"cost/step_seconds", "cost/metric_seconds", "cost/peak_memory"}

    def measure(self, module: TrainingModule) -> Values:
        """Read the counters."""
        return (
            solve_costs(module.step_cost)
            | {
                "cost/step_seconds": module.step_seconds,
                "cost/metric_seconds": module.metric_seconds,
                "cost/peak_memory": peak_memory(module.device),
            }
            | {f"cost/metric_seconds/{name}": s for name, s in module.seconds_by_metric.items()}
        )


def solve_costs(cost: SolveCost) -> Values:
    """`cost/nfe_forward` and its like."""
    return {
        f"cost/{what}_{way}": float(getattr(getattr(cost, way), counted))
        for way in _WAYS
        for what, counted in _COUNTS.items()
    }


def peak_memory(device: torch.device) -> float:
    """MiB at most allocated on a CUDA device, or resident in this process."""
    if device.type == "cuda":
        return cuda_peak(device) / MEBIBYTE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / MEBIBYTE if sys.platform == "darwin" else peak / 1024
