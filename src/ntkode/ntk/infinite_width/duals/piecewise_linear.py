"""Φ and Φ' of any continuous piecewise linear φ, by bivariate normal probabilities."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ntkode.activations import PiecewiseLinear
from ntkode.ntk.infinite_width.duals.closed_form import Pair, correlation


class PiecewiseLinearDual(PiecewiseLinear):
    """The dual of φ(x) = offset + slope·x + Σ_i Δ_i max(x − b_i, 0)."""

    def __call__(self, va: Tensor, vb: Tensor, c: Tensor) -> Pair:
        """(Φ, Φ'): sums over the pairs of kinks of E[(a − b_i)₊(b − b_j)₊] and P(a > b_i, b > b_j)."""
        va, vb, c = torch.broadcast_tensors(va, vb, c)
        ra, rb = va.sqrt(), vb.sqrt()
        rho = correlation(va, vb, c)
        value = self.offset**2 + self.slope**2 * c
        derivative = torch.full_like(c, self.slope**2)
        for place, jump in self.kinks:
            for root in (ra, rb):
                h = place / root
                above = _upper(h)
                value = value + jump * (
                    self.offset * root * (_density(h) - h * above) + self.slope * c * above
                )
                derivative = derivative + jump * self.slope * above
            for other, other_jump in self.kinks:
                ramps, quadrant = _quadrant_moments(place / ra, other / rb, rho)
                value = value + jump * other_jump * ra * rb * ramps
                derivative = derivative + jump * other_jump * quadrant
        return value, derivative


def _quadrant_moments(h: Tensor, k: Tensor, rho: Tensor) -> Pair:
    """E[(z₁ − h)₊(z₂ − k)₊] and L = P(z₁ > h, z₂ > k) for standard normals of correlation ρ.

    With s = √(1 − ρ²), h' = (h − ρk)/s, k' = (k − ρh)/s, n and Q density and upper tail:
    L = [Q(h) + Q(k) − (1 if hk < 0)]/2 − T(h, k'/h) − T(k, h'/k) (Owen 1956, eq. 2.1) and
    E = (ρ + hk)L − h n(k)Q(h') − k n(h)Q(k') + s n(h)n(k'), by parts.
    """
    sine = ((1 - rho) * (1 + rho)).sqrt()
    # At h = 0 or k = 0 these are limits; a tiny number in place of zero gives them up to rounding.
    tiny = torch.full_like(h, 1e-150)
    h, k = torch.where(h == 0, tiny, h), torch.where(k == 0, tiny, k)
    # 0/0 occurs at ρ = ±1 with h = ±k, where the limit is 0.
    h_given_k = ((h - rho * k) / sine).nan_to_num(nan=0.0, posinf=math.inf, neginf=-math.inf)
    k_given_h = ((k - rho * h) / sine).nan_to_num(nan=0.0, posinf=math.inf, neginf=-math.inf)
    opposite = (h.sign() != k.sign()).to(h.dtype)
    quadrant = (_upper(h) + _upper(k) - opposite) / 2 - _owens_t(h, k_given_h) - _owens_t(k, h_given_k)
    ramps = (
        (rho + h * k) * quadrant
        - h * _density(k) * _upper(h_given_k)
        - k * _density(h) * _upper(k_given_h)
        + sine * _density(h) * _density(k_given_h)
    )
    return ramps, quadrant


# The integrand's poles ±i make 14 nodes on [0, 1] exact to 1e-18.
_NODES, _WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(14))


def _owens_t(h: Tensor, ah: Tensor) -> Tensor:
    """Owen's T(h, a) = 1/2π ∫₀ᵃ e^{−h²(1+x²)/2}/(1 + x²) dx, given h ≠ 0 and the product ah.

    |a| > 1 is reduced by T(h, a) = (1 − erf(h/√2) erf(ah/√2))/4 − T(ah, 1/a), h, a > 0 (Owen 1956, eq. 2.3).
    """
    sign = h.sign() * ah.sign()
    h, ah = h.abs(), ah.abs()
    larger, slope = torch.maximum(h, ah), torch.minimum(h, ah) / torch.maximum(h, ah)
    half_square = larger.square() / 2
    integral = torch.zeros_like(slope)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        term = 1 + (slope * ((1 + node) / 2)).square()
        integral += weight / (4 * math.pi) * torch.exp(-half_square * term) / term
    integral *= slope
    reduced = (1 - torch.erf(h / math.sqrt(2)) * torch.erf(ah / math.sqrt(2))) / 4 - integral
    return sign * torch.where(ah <= h, integral, reduced)


def _density(x: Tensor) -> Tensor:
    return torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)


def _upper(x: Tensor) -> Tensor:
    return torch.erfc(x / math.sqrt(2)) / 2
