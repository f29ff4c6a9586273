"""Precision of a kernel's computation, its rounding error, and the memory available."""

from __future__ import annotations

import copy

import psutil
import torch
from torch import Tensor, nn

from ntkode.integrate import Solver
from ntkode.models import ODEModel

# Bound on the relative error of ∂f/∂θ by compression, about that of a solve in this precision. The error
# of the kernel is about 400 times smaller, because the terms are orthogonal over the samples.
TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-12}
# Fixed memory budget of runs: the size of blocks determines the last bits of a kernel, so a share of the
# free memory would make runs irreproducible.
REPRODUCIBLE_BYTES = 2**31
# Rounding of ∂f/∂θ by a solve, in units of ε.
ROUNDINGS = 8


def solve_dtype(model: nn.Module, x: Tensor) -> torch.dtype:
    """Dtype of the model's parameters; that of x if it has none."""
    return next((p.dtype for p in model.parameters()), x.dtype)


def rounding(dtype: torch.dtype) -> float:
    """Relative error of ∂f/∂θ by a solve in this dtype."""
    return ROUNDINGS * torch.finfo(dtype).eps


def differentiable_twin(model: nn.Module, dtype: torch.dtype | None) -> tuple[nn.Module, Solver | None]:
    """Copy to differentiate, in `dtype` if given, and the fixed-step solver that replaces an adaptive one.

    Kernels always differentiate a fixed-step solve by backpropagation, for every gradient method.
    """
    replacement = None
    if isinstance(model, ODEModel):
        fixed = model.solver.fixed_twin(model.scaled_horizon)
        replacement = None if fixed is model.solver else fixed
        model = model.solved_by(fixed)
    twin = copy.deepcopy(model)
    return (twin if dtype is None else twin.to(dtype)), replacement


def output_count(model: nn.Module, x: Tensor) -> int:
    """k, the number of outputs of the model for one row of x.

    Raises:
        ValueError: the output is not (N, k).
    """
    with torch.no_grad():
        f = model(x[:1].clone())  # a copy, which the model may change
    if f.ndim != 2 or len(f) != 1:
        raise ValueError(f"the model's output for one sample has shape {tuple(f.shape)}, not (1, k)")
    return int(f.shape[1])


def free_bytes(device: torch.device) -> int:
    """Free memory on the device, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)
