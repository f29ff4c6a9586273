"""The infinite-width limit of a network as it stands: its activation, scales and solver."""

from __future__ import annotations

from torch import Tensor

from ntkode.models import NeuralODE
from ntkode.ntk.infinite_width import Kernels, infinite_width_kernels
from ntkode.ntk.time_rules import RungeKutta


def network_limit(model: NeuralODE, x: Tensor, *, tolerance: float = 1e-8) -> Kernels:
    """NNGP and NTK, as n → ∞, of the network that the model's own solver (its `fixed_twin`) makes.

    Against the exact flow a distance would not fall below the solver's error; against this limit what is
    left is due to the width alone.

    Args:
        model: the network; its weights play no part.
        x: inputs of shape (N, d).
        tolerance: see `infinite_width_kernels`.

    Raises:
        ValueError: a solver without a tableau (implicit_adams), or inputs that are not finite or zero.
        BlowUpError: the limit is infinite before the horizon.
    """
    return infinite_width_kernels(
        x,
        activation=model.activation,
        horizon=model.horizon,
        sigma_u=model.sigma_u,
        sigma_w=model.sigma_w,
        sigma_v=model.sigma_v,
        tableau=RungeKutta.of(model.solver.fixed_twin(model.scaled_horizon)),
        tolerance=tolerance,
    )
