"""Dual activations: Φ(va, vb, c) = E[φ(a)φ(b)] and Φ' = ∂Φ/∂c = E[φ'(a)φ'(b)] for (a, b) ~ N(0, ·)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ntkode import activations
from ntkode.activations import Activation
from ntkode.checks import positive
from ntkode.ntk.infinite_width.duals.closed_form import closed_form, dual_of
from ntkode.ntk.infinite_width.duals.hermite_series import HermiteSeries
from ntkode.ntk.infinite_width.duals.piecewise_linear import PiecewiseLinearDual
from ntkode.ntk.infinite_width.duals.polynomial import Polynomial

__all__ = ["DualActivation", "dual_activation", "dual_of"]


DualActivation = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(va, vb, c) ↦ (Φ, Φ'), elementwise on float64 tensors that broadcast, with va, vb > 0, |c| ≤ √(va·vb).

If c = va = vb, ρ is exactly 1.
"""


def dual_activation(activation: Activation | str, tolerance: float = 1e-12) -> DualActivation:
    """The dual of an activation: a closed form if one is known, otherwise a Hermite series.

    Closed forms exist for the functions registered by `dual_of`, for polynomials up to degree 12, and for
    continuous piecewise linear φ, including user-defined ones.

    Args:
        activation: φ, or its registered name.
        tolerance: absolute error of Φ and Φ' by truncation of a series, for |φ| and |φ'| of order one.

    Raises:
        ValueError: the name is unknown, the tolerance is not positive, or φ jumps, so that
            E[φ'(a)φ'(b)] does not exist.
    """
    positive("tolerance", tolerance)
    if isinstance(activation, str):
        activation = activations.get(activation)
    formula = closed_form(activation)
    if formula is not None:
        return formula
    if activation.profile.smoothness < 0:
        raise ValueError(
            f"activation {activation.name!r} jumps, so E[φ'(a)φ'(b)] and the NTK do not exist; "
            "try a continuous one, such as activation=relu"
        )
    return (
        Polynomial.of(activation)
        or PiecewiseLinearDual.of(activation)
        or HermiteSeries(activation, tolerance)
    )


def slow_dual(activation: Activation) -> bool:
    """Whether the dual is a slow series, because φ has a kink away from 0; kernels then take minutes."""
    if activation.profile.smoothness < 0 or all(abs(at) < 1e-9 for at, _ in activation.profile.breakpoints):
        return False
    return isinstance(dual_activation(activation), HermiteSeries)
