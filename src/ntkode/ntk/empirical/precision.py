"""In which precision a kernel is computed, how well it is known then, and what memory is free for it."""

from __future__ import annotations

import copy

import psutil
import torch
from torch import Tensor, nn

from ntkode.integrate import Solver
from ntkode.models import ODEModel

# Relative error of ∂f/∂θ that a compression may make: about what a solve in that precision makes itself.
# The kernel's own is some 400 times smaller, since the terms are orthogonal over the samples.
TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-12}
# For runs to be repeated bit for bit: a fixed budget, not a share of what is free, since how a kernel
# is cut decides its last bits.
REPRODUCIBLE_BYTES = 2**31
# Rounding of ∂f/∂θ by a solve, in units of ε.
ROUNDINGS = 8


def solve_dtype(model: nn.Module, x: Tensor) -> torch.dtype:
    """The dtype of the model's parameters; that of x where it has none."""
    return next((p.dtype for p in model.parameters()), x.dtype)


def rounding(dtype: torch.dtype) -> float:
    """Relative error of ∂f/∂θ by a solve in this dtype."""
    return ROUNDINGS * torch.finfo(dtype).eps


def differentiable_twin(model: nn.Module, dtype: torch.dtype | None) -> tuple[nn.Module, Solver | None]:
    """A copy to differentiate, in `dtype` if given, and the fixed-step solver that replaces an adaptive one.

    Kernels differentiate a backprop solve with fixed steps, whatever a model's own gradient method.
    """
    replacement = None
    if isinstance(model, ODEModel):
        fixed = model.solver.fixed_twin(model.scaled_horizon)
        replacement = None if fixed is model.solver else fixed
        model = model.solved_by(fixed)
    twin = copy.deepcopy(model)
    return (twin if dtype is None else twin.to(dtype)), replacement


def output_count(model: nn.Module, x: Tensor) -> int:
    """k, the model's outputs for one row of x.

    Raises:
        ValueError: its output is not (N, k).
    """
    with torch.no_grad():
        f = model(x[:1].clone())  # a copy, which the model may change
    if f.ndim != 2 or len(f) != 1:
        raise ValueError(f"the model's output for one sample has shape {tuple(f.shape)}, not (1, k)")
    return int(f.shape[1])


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)
