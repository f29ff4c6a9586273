"""Splitting of a kink at 0 from φ: its dual has a closed form, and the rest a short Hermite series.

S(x) = Σ_j J_j max(x, 0)ʲ/j!, where J_j is the jump of φ^(j) at 0, j = 1, …, 6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import factorial

import torch
from scipy.special import factorial2
from torch import Tensor

from ntkode.activations import Activation
from ntkode.activations.smoothness import derivatives
from ntkode.ntk.infinite_width.duals.closed_form import Pair

ORDERS = 6
# Bound on the size at variance 2 of one order of S, whose rounding enters the result; larger orders and
# those above them are omitted.
_LARGEST = 100.0
# Point of one-sided derivatives; breakpoints are located to 1e-9, and this one is 0.
_BESIDE = 1e-13


@dataclass(frozen=True)
class KinkPart:
    """The kink part S of φ, and its dual.

    Attributes:
        jumps: J_1, …, J_6; 0 from the first one that is too large to subtract.
    """

    jumps: tuple[float, ...]

    @classmethod
    def of(cls, activation: Activation) -> KinkPart | None:
        """Kink part of φ, if its derivatives jump at 0 and nowhere else; otherwise None."""
        if [location for location, _ in activation.profile.breakpoints] != [0.0]:
            return None
        sides = derivatives(activation.function, torch.tensor([-_BESIDE, _BESIDE]).double(), ORDERS)
        jumps = (sides[1:, 1] - sides[1:, 0]).tolist()
        # √E[(J_j max(√2 Z, 0)ʲ/j!)²]
        sizes = [
            abs(jump) / factorial(j) * math.sqrt(2**j * factorial2(2 * j - 1) / 2)
            for j, jump in enumerate(jumps, start=1)
        ]
        orders = next((j for j, size in enumerate(sizes) if size > _LARGEST), ORDERS)
        return cls(tuple(jump if j < orders and abs(jump) > 1e-9 else 0.0 for j, jump in enumerate(jumps)))

    def __call__(self, va: Tensor, vb: Tensor, rho: Tensor) -> Pair:
        """(E[S(a)S(b)], E[S'(a)S'(b)]), of the shape of ρ, float64."""
        moments = _truncated_moments(rho)
        value, slope = torch.zeros_like(rho), torch.zeros_like(rho)
        ra, rb = va.sqrt(), vb.sqrt()
        for i, first in enumerate(self.jumps, start=1):
            for j, second in enumerate(self.jumps, start=1):
                if first and second:
                    share = first * second * ra ** (i - 1) * rb ** (j - 1)
                    share = share / (factorial(i - 1) * factorial(j - 1))
                    slope = slope + share * moments[i - 1, j - 1]
                    value = value + share * ra * rb / (i * j) * moments[i, j]
        return value, slope

    def coefficients(self, v: Tensor, unit: Tensor) -> Tensor:
        """Hermite coefficients of S(√v Z), shape (terms, *v.shape), from `unit_coefficients`."""
        powers = torch.stack([jump * v.sqrt() ** j for j, jump in enumerate(self.jumps, start=1)])
        return torch.tensordot(unit, powers, dims=1)


def unit_coefficients(z: Tensor, weighted_basis: Tensor) -> Tensor:
    """E[max(Z, 0)ʲ/j! · He_k(Z)]/√k!, shape (terms, 6), by the quadrature rule of the Hermite series."""
    powers = [torch.relu(z) ** j / factorial(j) for j in range(1, ORDERS + 1)]
    return weighted_basis @ torch.stack(powers, dim=1)


def _truncated_moments(rho: Tensor) -> dict[tuple[int, int], Tensor]:
    """M_ij = E[max(x, 0)ⁱ max(y, 0)ʲ], i, j ≤ 6, for standard normals of correlation ρ.

    By parts, with b_j = E[δ(x) max(y, 0)ʲ] = sʲ E[max(Z, 0)ʲ]/√(2π), s = √(1 − ρ²):
    M_1j = b_j + ρj M_0,j−1 and M_ij = (i − 1) M_i−2,j + ρj M_i−1,j−1; M_11 is Cho and Saul's (2009, eq. 6).
    """
    sine = ((1 - rho) * (1 + rho)).sqrt()
    half_moments = [
        2 ** (j / 2 - 1) * math.gamma((j + 1) / 2) / math.sqrt(math.pi) for j in range(ORDERS + 1)
    ]
    at_zero = [sine**j * (m / math.sqrt(2 * math.pi)) for j, m in enumerate(half_moments)]
    moments = {(0, 0): (math.pi - torch.acos(rho)) / (2 * math.pi), (0, 1): (1 + rho) * at_zero[0]}
    for j in range(2, ORDERS + 1):
        moments[0, j] = (j - 1) * moments[0, j - 2] + rho * at_zero[j - 1]
    for i in range(1, ORDERS + 1):
        moments[i, 0] = moments[0, i]
        for j in range(1, ORDERS + 1):
            below = at_zero[j] if i == 1 else (i - 1) * moments[i - 2, j]
            moments[i, j] = below + rho * j * moments[i - 1, j - 1]
    return moments
