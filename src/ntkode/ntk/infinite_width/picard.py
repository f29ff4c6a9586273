"""Picard iteration for K and Θ at the nodes of a rule for the double time integral.

    K = K0 + γ² ∫∫ Φ(K),    Θ = K0 + γ² ∫∫ [Φ(K) + Φ'(K)·Θ],    γ = σ_w·T.

The error after k iterations falls as γ^{2k}/(k!)², as for every Volterra equation in two variables.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Dual = Callable[[Tensor], tuple[Tensor, Tensor]]
Integral = Callable[[Tensor], Tensor]

MAX_ITERATIONS = 400
# Near a kink of Φ' at ρ = ±1, rounding ε of K causes √ε in Φ', so changes may not reach the tolerance.
_NOISE = 1e-7
_OVERFLOW = 1e100  # far above any kernel; its third power is still finite


@dataclass(frozen=True)
class Trajectories:
    """K and Θ at the nodes, with their integrands; all of shape (P, …nodes).

    NaN if the iteration did not converge, as beyond a blow-up.
    """

    kernel: Tensor
    tangent: Tensor
    phi: Tensor
    slope: Tensor

    def limits(self, k0: Tensor, gamma: float, total: Integral) -> tuple[Tensor, Tensor]:
        """K(1, 1) and Θ(1, 1), each (P,), by the `total` of a rule."""
        k = k0 + gamma**2 * total(self.phi)
        return k, k0 + gamma**2 * total(self.phi + self.slope * self.tangent)


def iterate(
    k0: Tensor,
    gamma: float,
    dual: Dual,
    integrate: Integral,
    tolerance: float,
) -> Trajectories:
    """Fixed point of K and Θ, iterated together; Θ lags one iteration.

    Args:
        k0: K0 broadcast to (P, …nodes).
        gamma: σ_w·T.
        dual: K ↦ (Φ, Φ') at the nodes.
        integrate: double integral up to the nodes, by the rule.
        tolerance: bound on the change per iteration: absolute below one, relative above.
    """
    kernel = tangent = k0
    previous, idle = math.inf, 0
    for _ in range(MAX_ITERATIONS):
        if not bool((kernel.abs() < _OVERFLOW).all()):
            break
        phi, slope = dual(kernel)
        new_kernel = k0 + gamma**2 * integrate(phi)
        new_tangent = k0 + gamma**2 * integrate(phi + slope * tangent)
        change = max(_change(new_kernel, kernel), _change(new_tangent, tangent))
        kernel, tangent = new_kernel, new_tangent
        idle = idle + 1 if previous <= change < _NOISE else 0
        previous = change
        if change <= tolerance or idle == 2:
            phi, slope = dual(kernel)
            return Trajectories(kernel, tangent, phi, slope)
    lost = torch.full_like(k0, math.nan)
    return Trajectories(lost, lost, lost, lost)


def _change(new: Tensor, old: Tensor) -> float:
    # NaN counts as no convergence.
    return float(((new - old).abs() / new.abs().clamp_min(1.0)).max())
