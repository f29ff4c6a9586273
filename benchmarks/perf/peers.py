"""Three other methods for the kernel in PyTorch, written as a careful user would write them.

`jacrev` and `vectors` differentiate a solver from this module: torchdiffeq writes in place, which vmap does
not support. All return J J^T in float32, the model's precision.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import jacrev, jvp, vjp, vmap

from ntkode.models import NeuralODE

Parameters = dict[str, Tensor]
# Numbers of samples per call to try, in this order, until one is slower or TRIAL_SECONDS are spent.
CHUNKS = {"cpu": (1, 2, 4, 8, 16, 32, 64), "cuda": (16, 64, 128, 256, 512, 1024)}
TRIAL_SECONDS = 20.0


@dataclass(frozen=True)
class Peer:
    """One method to compute the kernel.

    Attributes:
        kernel: maps model, inputs (N, d) and a number of samples per call to the kernel.
        trial: function timed on some inputs to select that number; None if it has no effect.
    """

    kernel: Callable[[NeuralODE, Tensor, int], Tensor]
    trial: Callable[[NeuralODE, Tensor, Tensor], Tensor] | None = None

    def chunk(self, model: NeuralODE, x: Tensor, synchronise: Callable[[], None]) -> int:
        """The number of samples per call with the least time per sample."""
        best, fewest, spent = 1, math.inf, 0.0
        for chunk in CHUNKS[x.device.type]:
            if self.trial is None or chunk > len(x) or spent > TRIAL_SECONDS:
                break
            begin = time.perf_counter()
            try:
                self.trial(model, x, x[:chunk])
                synchronise()
            except torch.OutOfMemoryError:
                break
            seconds = time.perf_counter() - begin
            if seconds / chunk > fewest:
                break
            best, fewest, spent = chunk, seconds / chunk, spent + seconds
        return best


def loop(model: NeuralODE, x: Tensor, chunk: int = 1) -> Tensor:
    """One forward and one backward pass per sample, by autograd through torchdiffeq."""
    parameters = list(model.parameters())
    j = x.new_empty(len(x), sum(p.numel() for p in parameters))
    for row, sample in zip(j, x.split(1), strict=True):
        gradients = torch.autograd.grad(model(sample).squeeze(), parameters)
        torch.cat([g.flatten() for g in gradients], out=row)
    return j @ j.T


def jacrev_loop(model: NeuralODE, x: Tensor, chunk: int) -> Tensor:
    """torch.func's vmap(jacrev) over the samples, `chunk` at a time."""
    j = x.new_empty(len(x), sum(p.numel() for p in model.parameters()))
    for rows, samples in zip(j.split(chunk), x.split(chunk), strict=True):
        rows.copy_(jacobian(model, x, samples))
    return j @ j.T


def jacobian(model: NeuralODE, x: Tensor, samples: Tensor) -> Tensor:
    """∂f/∂θ of some samples, shape (samples, P)."""
    derivative = vmap(jacrev(partial(plain_forward, model)), in_dims=(None, 0))
    by_name = derivative(_detached(model), samples)
    return torch.cat([values.flatten(1) for values in by_name.values()], dim=1)


def vector_products(model: NeuralODE, x: Tensor, chunk: int) -> Tensor:
    """torch.func's NTK–vector products with unit cotangents, `chunk` at a time, without storing J."""
    return torch.cat([columns(model, x, samples) for samples in x.split(chunk)])


def columns(model: NeuralODE, x: Tensor, samples: Tensor) -> Tensor:
    """Θ e_i = J (J^T e_i) of some samples i, shape (samples, N).

    J^T e_i is the gradient of one sample's output, so only this sample is differentiated.
    """
    parameters, forward = _detached(model), partial(plain_forward, model)

    def column(sample: Tensor) -> Tensor:
        output, pull_back = vjp(lambda p: forward(p, sample), parameters)[:2]
        (tangent,) = pull_back(torch.ones_like(output))
        pushed: Tensor = jvp(lambda p: forward(p, x), (parameters,), (tangent,))[1]
        return pushed

    return vmap(column)(samples)


PEERS = {
    "loop": Peer(loop),
    "jacrev": Peer(jacrev_loop, jacobian),
    "vectors": Peer(vector_products, columns),
}


def _detached(model: NeuralODE) -> Parameters:
    return {name: p.detach() for name, p in model.named_parameters()}


def plain_forward(model: NeuralODE, parameters: Parameters, x: Tensor) -> Tensor:
    """The model's f(x) for inputs of shape (…, d), shape (…)."""
    n, d = parameters["U"].shape
    step = model.horizon / (model.solver.steps or 1)

    def field(h: Tensor) -> Tensor:
        return F.linear(torch.tanh(h), parameters["W"]) / math.sqrt(n)

    h = F.linear(x, parameters["U"]) / math.sqrt(d)
    for _ in range(model.solver.steps or 1):
        h = STEPPERS[model.solver.method](field, h, step)
    return (torch.tanh(h) @ parameters["v"]).squeeze(-1) / math.sqrt(n)


def _euler(field: Callable[[Tensor], Tensor], h: Tensor, step: float) -> Tensor:
    return h + step * field(h)


def _rk4(field: Callable[[Tensor], Tensor], h: Tensor, step: float) -> Tensor:
    """The 3/8 rule, torchdiffeq's `rk4`."""
    k1 = field(h)
    k2 = field(h + step / 3 * k1)
    k3 = field(h + step * (k2 - k1 / 3))
    k4 = field(h + step * (k1 - k2 + k3))
    return h + step / 8 * (k1 + 3 * (k2 + k3) + k4)


STEPPERS = {"euler": _euler, "rk4": _rk4}
