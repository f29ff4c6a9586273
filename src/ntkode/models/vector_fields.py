"""Neural ODEs with other vector fields, in PyTorch's standard parameterisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ntkode.activations import Activation
from ntkode.checks import count
from ntkode.integrate import Backprop, GradientMethod, Solver
from ntkode.models.base import LayeredODEModel


class MLPODE(LayeredODEModel):
    """dh/dt = B φ(A h + a) + b with h(0) = E x + e and f = R h(T) + r, all Linear layers with bias.

    The hidden layer and the state have `width` units.

    Args:
        in_features: d.
        width: n.
        out_features: k.
        activation: φ, or its registered name.
        horizon: T.
        solver: ODE solver of the flow.
        gradient: method that differentiates h(T); default: backpropagation.
        subtract_initial_output: see `ODEModel`.
        state_features: length m of the state; None: `width`.
        field_features: length of the vector field's input; None: that of the state.

    Raises:
        ValueError: a size or the horizon is out of range, or the activation is unknown.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        out_features: int = 1,
        *,
        activation: Activation | str,
        horizon: float = 1.0,
        solver: Solver = Solver(),
        gradient: GradientMethod = Backprop(),
        subtract_initial_output: bool = False,
        state_features: int | None = None,
        field_features: int | None = None,
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
        state = state_features or width
        self.encoder: nn.Module = nn.Linear(in_features, state)
        self.inner = nn.Linear(field_features or state, width)
        self.outer = nn.Linear(width, state)
        self.head = nn.Linear(state, out_features)

    def encode(self, x: Tensor) -> Tensor:
        """h(0) = E x + e, shape (N, m)."""
        return self.encoder(x)

    def preactivations(self, t: Tensor, h: Tensor) -> Tensor:
        """Argument A h + a of φ, shape (N, n)."""
        return self.inner(h)

    def velocity(self, activated: Tensor) -> Tensor:
        """dh/dt = B φ + b, shape (N, m)."""
        return self.outer(activated)

    def readout(self, h: Tensor) -> Tensor:
        """Output R h + r, shape (N, k)."""
        return self.head(h)

    def field_parameters(self) -> list[nn.Parameter]:
        """The parameters of both Linear layers of the field."""
        return [*self.inner.parameters(), *self.outer.parameters()]


class AugmentedODE(MLPODE):
    """The state is the input with p zeros appended (ANODE; Dupont et al. 2019, arXiv 1904.01681).

    Args:
        in_features: d.
        width: n, number of hidden units; the state has length d + p.
        out_features: k.
        augment: p ≥ 1.
        **options: as `MLPODE`.

    Raises:
        ValueError: as `MLPODE`, or `augment` is below 1.
    """

    def __init__(
        self, in_features: int, width: int, out_features: int = 1, *, augment: int = 5, **options: Any
    ) -> None:
        count("model.augment", augment)
        super().__init__(in_features, width, out_features, state_features=in_features + augment, **options)
        self.encoder = nn.ZeroPad1d((0, augment))


class TimeDependentODE(MLPODE):
    """dh/dt = B φ(A [h, t] + a) + b: the time is one more feature of the field's input.

    Arguments and errors are those of `MLPODE`.
    """

    def __init__(self, in_features: int, width: int, out_features: int = 1, **options: Any) -> None:
        super().__init__(in_features, width, out_features, field_features=width + 1, **options)

    def preactivations(self, t: Tensor, h: Tensor) -> Tensor:
        """Argument A [h, t] + a of φ, shape (N, n)."""
        return self.inner(torch.cat([h, t.to(h.dtype).expand(len(h), 1)], dim=1))
