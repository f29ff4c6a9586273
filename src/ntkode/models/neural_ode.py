"""The Neural ODE of the theory: NTK parameterisation, weights shared over time, all trained."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ntkode.activations import Activation
from ntkode.checks import nonnegative
from ntkode.integrate import Backprop, GradientMethod, Solver
from ntkode.models.base import LayeredODEModel


class NeuralODE(LayeredODEModel):
    """The model of Gao et al. (ICLR 2025, arXiv 2509.22436), all entries of U, W, v iid N(0, 1).

        h(0) = σ_u/√d · U x,   dh/dt = σ_w/√n · W φ(h),   f(x) = σ_v/√n · v^T φ(h(T)).

    Args:
        in_features: d.
        width: n.
        out_features: k.
        activation: φ, or its registered name.
        horizon: T. The limit n → ∞ depends on σ_w·T alone.
        sigma_u: σ_u ≥ 0.
        sigma_w: σ_w ≥ 0.
        sigma_v: σ_v ≥ 0.
        solver: ODE solver; its number of steps should grow with σ_w·T.
        gradient: method that differentiates h(T); default: backpropagation.
        subtract_initial_output: see `ODEModel`.

    Attributes:
        U: parameter of shape (n, d).
        W: parameter of shape (n, n).
        v: parameter of shape (n, k).

    Raises:
        ValueError: a size, horizon or sigma is out of range, or the activation is unknown.

    Example:
        >>> model = NeuralODE(3, 64, 2, activation="tanh", horizon=2.0)
        >>> model(torch.ones(5, 3)).shape
        torch.Size([5, 2])
        >>> {name: tuple(p.shape) for name, p in model.named_parameters()}
        {'U': (64, 3), 'W': (64, 64), 'v': (64, 2)}
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        out_features: int = 1,
        *,
        activation: Activation | str,
        horizon: float = 1.0,
        sigma_u: float = 1.0,
        sigma_w: float = 1.0,
        sigma_v: float = 1.0,
        solver: Solver = Solver(),
        gradient: GradientMethod = Backprop(),
        subtract_initial_output: bool = False,
    ) -> None:
        super().__init__(
            in_features,
            width,
            out_features,
            activation=activation,
            horizon=horizon,
            solver=solver,
            gradient=gradient,
            subtract_initial_output=subtract_initial_output,
        )
        self.sigma_u = nonnegative("model.sigma_u", sigma_u)
        self.sigma_w = nonnegative("model.sigma_w", sigma_w)
        self.sigma_v = nonnegative("model.sigma_v", sigma_v)
        self.U = nn.Parameter(torch.randn(width, in_features))
        self.W = nn.Parameter(torch.randn(width, width))
        self.v = nn.Parameter(torch.randn(width, out_features))

    @property
    def scaled_horizon(self) -> float:
        """T · max(1, σ_w), dimensionless: fine solves take a number of steps proportional to it."""
        return self.horizon * max(1.0, self.sigma_w)

    def encode(self, x: Tensor) -> Tensor:
        """h(0) = σ_u/√d · U x, shape (N, n)."""
        return F.linear(x, self.U) * (self.sigma_u / math.sqrt(self.in_features))

    def preactivations(self, t: Tensor, h: Tensor) -> Tensor:
        """The state h, shape (N, n): φ acts on it directly."""
        return h

    def velocity(self, activated: Tensor) -> Tensor:
        """σ_w/√n · W φ, shape (N, n)."""
        return F.linear(activated, self.W) * (self.sigma_w / math.sqrt(self.width))

    def readout(self, h: Tensor) -> Tensor:
        """σ_v/√n · v^T φ(h), shape (N, k)."""
        return (self.activation(h) @ self.v) * (self.sigma_v / math.sqrt(self.width))

    def field_parameters(self) -> list[nn.Parameter]:
        """W: the only parameter of the vector field."""
        return [self.W]
