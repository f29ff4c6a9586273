"""Slow, simple references with which fast methods are compared."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev


def dense_jacobian(model: nn.Module, x: Tensor) -> Tensor:
    """∂f/∂θ in float64, shape (N, k, P), by torch.func.jacrev of the batched forward pass."""
    model = copy.deepcopy(model).double()
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    blocks = jacrev(lambda p: functional_call(model, p, (x.double(),)))(parameters)
    return torch.cat([block.flatten(2) for block in blocks.values()], dim=2)


def dense_full_kernel(model: nn.Module, x1: Tensor, x2: Tensor) -> Tensor:
    """The full kernel Θ, shape (N1·k, N2·k), with row index i·k + c for sample i and output c."""
    return dense_jacobian(model, x1).flatten(0, 1) @ dense_jacobian(model, x2).flatten(0, 1).T


def dense_trace_kernel(model: nn.Module, x1: Tensor, x2: Tensor) -> Tensor:
    """The trace kernel (1/k) Σ_c Θ_cc, shape (N1, N2)."""
    j1, j2 = dense_jacobian(model, x1), dense_jacobian(model, x2)
    return torch.einsum("icp,jcp->ij", j1, j2) / j1.shape[1]


def finite_difference_gradient(scalar, parameters: list[Tensor], step: float = 1e-6) -> list[Tensor]:
    """∂scalar/∂θ by central differences for each entry of θ; `scalar` is a function without arguments."""
    gradients = []
    for parameter in parameters:
        gradient = torch.zeros_like(parameter)
        flat, out = parameter.data.view(-1), gradient.view(-1)
        for i in range(len(flat)):
            original = flat[i].item()
            flat[i] = original + step
            above = scalar().item()
            flat[i] = original - step
            below = scalar().item()
            flat[i] = original
            out[i] = (above - below) / (2 * step)
        gradients.append(gradient)
    return gradients
