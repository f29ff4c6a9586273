"""Φ and Φ' of any polynomial φ: a finite Hermite series whose coefficients are polynomials in √v."""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial

import numpy as np
import torch
from numpy.polynomial import hermite_e
from torch import Tensor

from ntkode.activations import Activation
from ntkode.activations.hermite import gaussian_quadrature, hermite_functions
from ntkode.ntk.infinite_width.duals.closed_form import Pair


@dataclass(frozen=True)
class Polynomial:
    """The dual of φ(x) = Σ_j p_j xʲ: Φ = Σ_k k! e_k(va) e_k(vb) cᵏ.

    The coefficient of He_k in φ(√v Z) is √vᵏ e_k(v), e_k(v) = Σ_i p_{k+2i} (k + 2i)!/(k! i! 2ⁱ) vⁱ.

    Attributes:
        coefficients: p_0, p_1, …, ascending in the power.
    """

    coefficients: tuple[float, ...]

    @classmethod
    def of(cls, activation: Activation) -> Polynomial | None:
        """The dual of φ if its profile is that of a polynomial, otherwise None."""
        degree = activation.profile.polynomial_degree
        if degree is None:
            return None
        z, weights = gaussian_quadrature(activation.function)
        normalised = hermite_functions(z, degree + 1) @ (weights * activation(z).detach())
        series = normalised[: degree + 1].numpy() / np.sqrt([float(factorial(k)) for k in range(degree + 1)])
        monomials = np.zeros(degree + 1)
        powers = hermite_e.herme2poly(series)
        monomials[: len(powers)] = powers
        # Coefficients that vanish in exact arithmetic are rounding noise.
        monomials[np.abs(monomials) < 1e-12 * np.abs(monomials).max()] = 0.0
        return cls(tuple(monomials.tolist()))

    def __call__(self, va: Tensor, vb: Tensor, c: Tensor) -> Pair:
        """(Φ, Φ') of the broadcast shape."""
        value = torch.zeros_like(va * vb * c)
        derivative = torch.zeros_like(value)
        for k in range(len(self.coefficients) - 1, -1, -1):
            derivative = derivative * c + value
            value = value * c + factorial(k) * self._in_variance(va, k) * self._in_variance(vb, k)
        return value, derivative

    def _in_variance(self, v: Tensor, k: int) -> Tensor:
        result = torch.zeros_like(v)
        for i in range((len(self.coefficients) - 1 - k) // 2, -1, -1):
            j = k + 2 * i
            result = result * v + self.coefficients[j] * (factorial(j) / (factorial(k) * factorial(i) * 2**i))
        return result
