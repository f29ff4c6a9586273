"""Outputs of many networks with equal settings and independent initialisations, in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torchdiffeq import odeint

from ntkode.models import NeuralODE

_ENTRIES_A_BLOCK = 2**23  # of weights and of states


@dataclass(frozen=True)
class Ensemble:
    """Networks with the settings of `model` and independent weights, evaluated at the inputs `x`.

    Attributes:
        model: gives width, scales, activation, horizon and solver; its weights are not used.
        x: inputs, shape (N, d).
    """

    model: NeuralODE
    x: Tensor

    def sample(self, initialisations: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Outputs f, shape (B, N, k), and conditional variances (σ_v²/n)|φ(h_T)|², shape (B, N), by blocks.

        Given U and W, the outputs at x are k independent Gaussians of that variance.

        Args:
            initialisations: number of networks in all.
            generator: draws their weights; on the inputs' device.

        Raises:
            SolverFailure: the ODE could not be solved.
        """
        inputs = coordinates(self.x)
        n, entries = self.model.width, self.model.width * (self.model.width + 8 * len(inputs))
        block = max(1, _ENTRIES_A_BLOCK // entries)
        for first in range(0, initialisations, block):
            size = min(block, initialisations - first)
            columns = (inputs.shape[1], n, self.model.out_features)
            u, w, v = (
                torch.randn(size, n, m, generator=generator, dtype=inputs.dtype, device=inputs.device)
                for m in columns
            )
            yield self.outputs(inputs, u, w, v)

    def outputs(self, inputs: Tensor, u: Tensor, w: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs f, shape (B, N, k), and conditional variances, shape (B, N), of B networks.

        Args:
            inputs: shape (N, r), coordinates of the inputs in an orthonormal basis.
            u: weights U in these coordinates, shape (B, n, r).
            w: weights W, shape (B, n, n).
            v: weights v, shape (B, n, k).

        Raises:
            SolverFailure: the ODE could not be solved.
        """
        model = self.model
        n, d = model.width, self.x.shape[1]
        field_scale, output_scale = model.sigma_w / math.sqrt(n), model.sigma_v / math.sqrt(n)
        state = (inputs @ u.transpose(1, 2)) * (model.sigma_u / math.sqrt(d))

        def velocity(t: Tensor, h: Tensor) -> Tensor:
            return torch.bmm(model.activation(h), w.transpose(1, 2)) * field_scale

        solver = model.solver.fixed_twin(model.scaled_horizon)
        features = model.activation(solver.integrate(odeint, velocity, state, model.horizon))
        return torch.bmm(features, v) * output_scale, features.square().sum(2) * output_scale**2


def coordinates(x: Tensor) -> Tensor:
    """Coordinates R, shape (N, min(N, d)), of the inputs in an orthonormal basis of their span: RRᵀ = xxᵀ.

    The rows of U are standard normal in any such basis, so min(N, d) entries of each are drawn, not d.
    """
    if x.shape[1] <= len(x):
        return x
    triangular: Tensor = torch.linalg.qr(x.double().T, mode="r").R
    return triangular.T.to(x)
