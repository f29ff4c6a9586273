"""Closed forms of the dual activations Φ and Φ' = ∂Φ/∂c, registered by φ.

All take float64 tensors va, vb > 0 and c, |c| ≤ √(va·vb), that broadcast, and return (Φ, Φ') of the broadcast
shape. Without a citation, Φ follows from Gaussian integration by parts (Stein).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ntkode.activations import Activation, functions

Pair = tuple[Tensor, Tensor]
ClosedForm = Callable[..., Pair]

_CLOSED_FORMS: dict[Callable[..., Tensor], ClosedForm] = {}


def dual_of(function: Callable[..., Tensor]) -> Callable[[ClosedForm], ClosedForm]:
    """Decorator: the closed form of the dual of a registered φ, taking the same keyword parameters."""

    def remember(dual: ClosedForm) -> ClosedForm:
        _CLOSED_FORMS[function] = dual
        return dual

    return remember


def closed_form(activation: Activation) -> Callable[[Tensor, Tensor, Tensor], Pair] | None:
    """(va, vb, c) ↦ (Φ, Φ') with the activation's parameters bound; None if no formula is known."""
    bound = activation.function
    function, given = (bound.func, bound.keywords) if isinstance(bound, partial) else (bound, {})
    dual = _CLOSED_FORMS.get(function)
    if dual is None:
        return None
    return partial(dual, **((getattr(function, "__kwdefaults__", None) or {}) | given))


def correlation(va: Tensor, vb: Tensor, c: Tensor) -> Tensor:
    """ρ = c/√(va·vb) in [−1, 1]; exactly 1 if c = va = vb, since IEEE √(v·v) is exactly v."""
    return (c / (va * vb).sqrt()).clamp_(-1.0, 1.0)


@dual_of(functions.identity)
def identity(va: Tensor, vb: Tensor, c: Tensor) -> Pair:
    """Dual of x: Φ = c, Φ' = 1."""
    value = c + torch.zeros_like(va * vb)
    return value, torch.ones_like(value)


@dual_of(functions.quadratic)
def quadratic(va: Tensor, vb: Tensor, c: Tensor) -> Pair:
    """Dual of x²: Φ = va·vb + 2c², Φ' = 4c."""
    return va * vb + 2 * c.square(), 4 * c + torch.zeros_like(va * vb)


@dual_of(functions.cubic)
def cubic(va: Tensor, vb: Tensor, c: Tensor) -> Pair:
    """Φ = 9 va·vb·c + 6c³, Φ' = 9 va·vb + 18c²."""
    product, square = 9 * va * vb, c.square()
    return c * (product + 6 * square), product + 18 * square


@dual_of(functions.relu)
def relu(va: Tensor, vb: Tensor, c: Tensor) -> Pair:
    """Φ = √(va·vb)/2π · (sin θ + (π − θ) cos θ), Φ' = (π − θ)/2π, cos θ = ρ (Cho and Saul 2009, eq. 6)."""
    return leaky_relu(va, vb, c, negative_slope=0.0)


@dual_of(functions.leaky_relu)
def leaky_relu(va: Tensor, vb: Tensor, c: Tensor, *, negative_slope: float) -> Pair:
    """φ = αx + (1 − α)·max(x, 0): Φ = αc + (1 − α)²Φ_relu, Φ' = α + (1 − α)²Φ'_relu."""
    alpha, share = negative_slope, (1 - negative_slope) ** 2 / (2 * math.pi)
    scale = (va * vb).sqrt()
    rho = (c / scale).clamp_(-1.0, 1.0)
    rest = math.pi - torch.acos(rho)  # π − θ
    # Unlike 1 − ρ², (1 − ρ)(1 + ρ) keeps its relative accuracy as ρ → ±1.
    sine = ((1 - rho) * (1 + rho)).sqrt_()
    return alpha * c + share * scale * (sine + rest * rho), alpha + share * rest


@dual_of(functions.relu_squared)
def relu_squared(va: Tensor, vb: Tensor, c: Tensor) -> Pair:
    """Φ = va·vb/2π · (3 sin θ cos θ + (π − θ)(1 + 2cos² θ)), Φ' = 4Φ_relu (Cho and Saul 2009, eq. 7)."""
    scale = (va * vb).sqrt()
    rho = (c / scale).clamp_(-1.0, 1.0)
    rest = math.pi - torch.acos(rho)
    sine = ((1 - rho) * (1 + rho)).sqrt_()
    value = scale.square() / (2 * math.pi) * (3 * sine * rho + rest * (1 + 2 * rho.square()))
    return value, 2 / math.pi * scale * (sine + rest * rho)


@dual_of(functions.erf)
def erf(va: Tensor, vb: Tensor, c: Tensor) -> Pair:
    """Φ = 2/π · asin(2c/√P), Φ' = 4/(π√(P − 4c²)), P = (1 + 2va)(1 + 2vb) (Williams 1997, eq. 11)."""
    product = (1 + 2 * va) * (1 + 2 * vb)
    return 2 / math.pi * torch.asin(2 * c * product.rsqrt()), 4 / math.pi * (product - 4 * c * c).rsqrt()


@dual_of(functions.gelu)
def gelu(va: Tensor, vb: Tensor, c: Tensor) -> Pair:
    """Φ = cQ + M(va·vb + κc²), Φ' = Q + cM(1 + 2κ) + cM(va·vb + κc²)/D (after Tsuchida et al. 2021, Prop. 3).

    D = (1 + va)(1 + vb) − c², M = 1/(2π√D), κ = 1/(1 + va) + 1/(1 + vb) − 1,
    Q = 1/4 + asin(c/√((1 + va)(1 + vb)))/2π.
    """
    product = (1 + va) * (1 + vb)
    determinant = product - c * c
    density = determinant.rsqrt() / (2 * math.pi)
    kappa = 1 / (1 + va) + 1 / (1 + vb) - 1
    quadrant = 0.25 + torch.asin(c * product.rsqrt()) / (2 * math.pi)
    bracket = va * vb + kappa * c * c
    value = c * quadrant + density * bracket
    return value, quadrant + c * density * (1 + 2 * kappa + bracket / determinant)


@dual_of(functions.sin)
def sin(va: Tensor, vb: Tensor, c: Tensor) -> Pair:
    """Φ = e^{−(va+vb)/2} sinh c, Φ' = e^{−(va+vb)/2} cosh c (Rahimi and Recht 2007)."""
    half = (va + vb) / 2
    plus, minus = torch.exp(c - half) / 2, torch.exp(-c - half) / 2  # neither can overflow
    return plus - minus, plus + minus


@dual_of(functions.cos)
def cos(va: Tensor, vb: Tensor, c: Tensor) -> Pair:
    """Φ = e^{−(va+vb)/2} cosh c, Φ' = e^{−(va+vb)/2} sinh c (Rahimi and Recht 2007)."""
    value, derivative = sin(va, vb, c)
    return derivative, value


@dual_of(functions.gaussian)
def gaussian(va: Tensor, vb: Tensor, c: Tensor) -> Pair:
    """Φ = D^{−1/2}, Φ' = c·D^{−3/2}, D = (1 + va)(1 + vb) − c² (Williams 1997, eq. 13)."""
    value = ((1 + va) * (1 + vb) - c * c).rsqrt()
    return value, c * value**3
