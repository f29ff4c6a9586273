"""The infinite-width limit of a network as it stands: its activation, scales and solver."""

from __future__ import annotations

from torch import Tensor

from ntkode.models import NeuralODE
from ntkode.ntk.empirical.precision import REPRODUCIBLE_BYTES
from ntkode.ntk.infinite_width.kernels import Kernels, infinite_width_kernels
from ntkode.ntk.infinite_width.time_rules import RungeKutta

# Stages beyond which the exact flow takes a Runge–Kutta solve's place: the cost grows as their square,
# for a difference of (1/12)⁴ for RK4, (1/24)² for the midpoint rule, each times a small constant.
MOST_STAGES = 48


def network_limit(model: NeuralODE, x: Tensor, *, tolerance: float = 1e-8) -> Kernels:
    """NNGP and NTK, as n → ∞, of the network that the model's solver (its `fixed_twin`) defines.

    Against the exact flow a distance would not fall below the solver's error; against this limit what is
    left is due to the width alone. Only where a Runge–Kutta solve has more than `MOST_STAGES` stages, its
    limit is that of the exact flow.

    Args:
        model: the network; its weights play no part.
        x: inputs of shape (N, d).
        tolerance: see `infinite_width_kernels`.

    Raises:
        ValueError: a solver without a tableau (implicit_adams), or inputs that are not finite or zero.
        BlowUpError: the limit is infinite before the horizon.
    """
    solver = model.solver.fixed_twin(model.scaled_horizon)
    euler = solver.method == "euler"
    tableau = None if euler else RungeKutta.of(solver)
    if tableau is not None and tableau.steps * len(tableau.b) > MOST_STAGES:
        tableau = None
    return infinite_width_kernels(
        x,
        activation=model.activation,
        horizon=model.horizon,
        sigma_u=model.sigma_u,
        sigma_w=model.sigma_w,
        sigma_v=model.sigma_v,
        depth=solver.steps if euler else None,
        tableau=tableau,
        tolerance=tolerance,
        max_bytes=REPRODUCIBLE_BYTES,
    )
