"""Cost of a run: evaluations of the vector field, seconds, memory."""

from __future__ import annotations

import resource
import sys

import torch

from ntkode.gradients import cuda_peak
from ntkode.integrate import SolveCost
from ntkode.metrics.base import LossMetric, Values
from ntkode.training import TrainingModule

MEBIBYTE = 2**20
_DIRECTIONS = ("forward", "backward")
_COUNTS = {"nfe": "evaluations", "steps": "accepted", "rejected": "rejected"}


class Cost(LossMetric):
    """Cost of the newest step, and of all metrics so far.

    - `cost/nfe_forward`: evaluations of the vector field in the forward pass of one training step;
      `cost/nfe_backward`: evaluations with vector–Jacobian products in its backward pass.
    - `cost/steps_forward`, `cost/steps_backward`, `cost/rejected_forward`, `cost/rejected_backward`: accepted
      and rejected solver steps of each pass (backpropagation: backward steps are the accepted forward steps).
    - `cost/step_seconds`: one training step without metrics; `cost/metric_seconds`: all metrics so far;
      `cost/metric_seconds/<metric>`: each metric so far.
    - `cost/peak_memory`: peak in MiB so far, metrics included: allocations on CUDA, else the process's
      resident set. With `metrics=cheap` and a numeric `optimizer.lr` it is the peak of training.
    """

    def names(self, module: TrainingModule) -> set[str]:
        """Counts, seconds and memory; without the times of single metrics."""
        measured = {f"cost/{what}_{direction}" for what in _COUNTS for direction in _DIRECTIONS}
        return measured | {"cost/step_seconds", "cost/metric_seconds", "cost/peak_memory"}

    def measure(self, module: TrainingModule) -> Values:
        """The counters of the newest step, and the totals so far."""
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
    """`cost/nfe_*`, `cost/steps_*` and `cost/rejected_*` of a solve, forward and backward."""
    return {
        f"cost/{what}_{direction}": float(getattr(getattr(cost, direction), counted))
        for direction in _DIRECTIONS
        for what, counted in _COUNTS.items()
    }


def peak_memory(device: torch.device) -> float:
    """Peak memory in MiB: allocated on a CUDA device, or resident in this process."""
    if device.type == "cuda":
        return cuda_peak(device) / MEBIBYTE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / MEBIBYTE if sys.platform == "darwin" else peak / 1024
