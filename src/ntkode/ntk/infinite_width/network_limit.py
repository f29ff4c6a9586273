"""Infinite-width limit of a given network: its activation, scales and solver."""

from __future__ import annotations

from torch import Tensor

from ntkode.models import NeuralODE
from ntkode.ntk.empirical.precision import REPRODUCIBLE_BYTES
from ntkode.ntk.infinite_width.kernels import Kernels, infinite_width_kernels
from ntkode.ntk.infinite_width.time_rules import RungeKutta

# Largest number of stages of a Runge–Kutta solve; above it the exact flow replaces the solve. The cost grows
# as its square; the difference is (1/12)⁴ for RK4 and (1/24)² for the midpoint rule, times a small constant.
MAX_STAGES = 48


def network_limit(model: NeuralODE, x: Tensor, *, tolerance: float = 1e-8) -> Kernels:
    """NNGP and NTK, as n → ∞, of the network discretised by the model's solver (its `fixed_twin`).

    The distance of a finite network from this limit is due to the width alone; the distance from the limit of
    the exact flow would include the solver's error. A Runge–Kutta solve with more than `MAX_STAGES` stages
    is replaced by the exact flow.

    Args:
        model: the network; its weights are not used.
        x: inputs of shape (N, d).
        tolerance: see `infinite_width_kernels`.

    Raises:
        ValueError: the solver has no tableau (implicit_adams), or an input is zero or not finite.
        BlowUpError: the limit diverges before the horizon.
    """
    solver = model.solver.fixed_twin(model.scaled_horizon)
    euler = solver.method == "euler"
    tableau = None if euler else RungeKutta.of(solver)
    if tableau is not None and tableau.steps * len(tableau.b) > MAX_STAGES:
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
