"""The empirical Neural Tangent Kernel Θ(x, x') = Σ_θ ∂f(x)/∂θ · ∂f(x')/∂θ at the model's parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ntkode.models import ODEModel
from ntkode.ntk import contraction
from ntkode.ntk.recording import LinearCalls, NotRecordableError, record_linear_calls

Method = Literal["auto", "pairs", "build", "jacobian"]
Outputs = Literal["trace", "full"]
# (output of the first argument, output of the second) → block of shape (N1, N2)
Block = Callable[[int, int], Tensor]


def empirical_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    method: Method = "auto",
    outputs: Outputs = "trace",
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Θ between the rows of x1 and x2 (x1 itself unless given), over all parameters.

    An `ODEModel` is differentiated by backpropagation through a fixed-step solve: its own solver's, or
    RK4 in place of an adaptive one, whose steps would couple the samples. The model is not changed.

    Args:
        model: maps (N, d) to (N, k), each row by itself.
        x1: inputs of shape (N1, d).
        x2: inputs of shape (N2, d).
        method: `pairs` and `build` contract recorded linear calls, `jacobian` takes one backward pass
            a sample and output and works for any model; `auto` takes the cheapest that applies.
        outputs: `trace` = (1/k) Σ_c Θ_cc of shape (N1, N2); `full` of shape (N1·k, N2·k), with sample
            the slow and output the fast index.
        dtype: in which everything is computed.

    Returns:
        The kernel, on the inputs' device, in `dtype`.

    Raises:
        ValueError: an unknown method or outputs, or inputs that are not (N, d) or not finite.
        NotRecordableError: `pairs` or `build` on a model with other than linear calls.
    """
    if outputs not in ("trace", "full"):
        raise ValueError(f"outputs={outputs!r} must be 'trace' or 'full'")
    if method not in ("auto", "pairs", "build", "jacobian"):
        raise ValueError(f"method={method!r} must be 'auto', 'pairs', 'build' or 'jacobian'")
    for x in (x1, x2):
        if x is not None and (x.ndim != 2 or not x.isfinite().all()):
            raise ValueError(f"inputs of shape {tuple(x.shape)} must be (N, d) and finite")
    twin = _differentiable_twin(model, dtype)
    x1 = x1.to(dtype)
    x2 = x1 if x2 is None else x2.to(dtype)
    block, k = _jacobian_blocks(twin, x1, x2) if method == "jacobian" else _blocks(twin, x1, x2, method)
    if outputs == "trace":
        return torch.stack([block(c, c) for c in range(k)]).mean(0)
    rows = [torch.stack([block(c, e) for e in range(k)], dim=2) for c in range(k)]
    return torch.stack(rows, dim=1).reshape(len(x1) * k, len(x2) * k)


def _differentiable_twin(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    if isinstance(model, ODEModel):
        model = model.solved_by(model.solver.fixed_twin(model.scaled_horizon))
    return copy.deepcopy(model).to(dtype)


def _blocks(model: nn.Module, x1: Tensor, x2: Tensor, method: Method) -> tuple[Block, int]:
    try:
        first = record_linear_calls(model, x1)
        second = first if x2 is x1 else record_linear_calls(model, x2)
    except NotRecordableError:
        if method != "auto":
            raise
        return _jacobian_blocks(model, x1, x2)
    k = len(next(iter(first.values())).cotangents)
    contract = {name: _contraction(method, first[name], second[name]) for name in first}

    def block(c: int, e: int) -> Tensor:
        kernel = x1.new_zeros(len(x1), len(x2))
        for name, one in first.items():
            two = second[name]
            kernel += contract[name](
                one.inputs, one.cotangents[c], two.inputs, two.cotangents[e], one.with_bias
            )
        return kernel

    return block, k


def _contraction(method: Method, first: LinearCalls, second: LinearCalls) -> Callable[..., Tensor]:
    chosen = contraction.cheaper(first, second) if method == "auto" else method
    return {"pairs": contraction.pairs, "build": contraction.build}[chosen]


def _jacobian_blocks(model: nn.Module, x1: Tensor, x2: Tensor) -> tuple[Block, int]:
    first = jacobian(model, x1)
    second = first if x2 is x1 else jacobian(model, x2)
    return (lambda c, e: first[:, c] @ second[:, e].T), first.shape[1]


def jacobian(model: nn.Module, x: Tensor) -> Tensor:
    """∂f/∂θ, shape (N, k, P), by one backward pass a sample and output: slow, and right for any model."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad():
        f = model(x)
        rows = [
            torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
            for value in f.flatten()
        ]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows]).unflatten(0, f.shape)
