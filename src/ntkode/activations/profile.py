"""The profile of an activation: its regularity and nonlinearity, computed from the callable."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.polynomial import chebyshev

from ntkode.activations.hermite import gaussian_quadrature, hermite_functions
from ntkode.activations.smoothness import HALF_RANGE, Function, derivative_bounds, find_breakpoints, grid

HERMITE_COUNT = 8
MAX_POLYNOMIAL_DEGREE = 12


@dataclass(frozen=True)
class Profile:
    """Regularity and nonlinearity of a function φ: ℝ → ℝ.

    Attributes:
        smoothness: largest m with φ ∈ C^m; inf if no derivative of order 0 to 4 jumps, −1 if φ jumps.
        breakpoints: (location, order of the first derivative that jumps there), ascending, on [−12, 12].
        derivative_bounds: sup |φ^(k)| over ℝ, k = 1, …, 4; inf if unbounded, or if a derivative of order
            below k jumps.
        polynomial_degree: degree if φ is a polynomial (of degree 12 at most), else None.
        parity: "odd", "even" or None.
        nonlinearity: share of E[φ(Z)²], Z ~ N(0, 1), in Hermite orders ≥ 2: E[(φ(Z) − c₀ − c₁Z)²] / E[φ(Z)²].
        hermite: c_k = E[φ(Z) He_k(Z)] / √k!, k = 0, …, 7.
    """

    smoothness: float
    breakpoints: tuple[tuple[float, int], ...]
    derivative_bounds: tuple[float, float, float, float]
    polynomial_degree: int | None
    parity: Literal["odd", "even"] | None
    nonlinearity: float
    hermite: tuple[float, ...]

    @property
    def smoothness_class(self) -> str:
        """Name of the class: ``C^0``, ``C^1``, …, ``C^inf``, or ``discontinuous``."""
        return "discontinuous" if self.smoothness < 0 else f"C^{self.smoothness:.0f}"

    @property
    def kinks(self) -> tuple[float, ...]:
        """Locations where φ or φ' jumps, ascending."""
        return tuple(location for location, order in self.breakpoints if order <= 1)

    @property
    def lipschitz(self) -> float:
        """Lipschitz constant of φ: sup |φ'| over the points where φ' exists.

        Finite at kinks (relu: 1); inf if φ jumps or φ' is unbounded (quadratic).
        """
        return self.derivative_bounds[0]

    @property
    def lipschitz_derivative(self) -> float:
        """Lipschitz constant of φ': sup |φ''| over the points where φ'' exists.

        inf if φ' jumps (relu at 0), if φ jumps, or if φ'' is unbounded. Finite where φ'' jumps (elu: 1).
        """
        return self.derivative_bounds[1]

    @property
    def lipschitz_second_derivative(self) -> float:
        """Lipschitz constant of φ'': sup |φ'''| over the points where φ''' exists.

        inf if φ'' jumps (elu) or is undefined at a point (a jump of φ or φ'), or if φ''' is unbounded.
        """
        return self.derivative_bounds[2]


def compute_profile(function: Function) -> Profile:
    """The profile of an elementwise callable, from its values and autograd derivatives in float64.

    Raises:
        ValueError: φ is not finite on [−12, 12], or torch cannot differentiate it five times.
    """
    x = grid()
    bad = ~torch.isfinite(function(x).detach())
    if bool(bad.any()):
        raise ValueError(
            f"{function!r} is not finite at x = {x[bad][0]:.3f}: a profile needs finite φ on [-12, 12]"
        )
    breakpoints = find_breakpoints(function)
    first, second, third, fourth = derivative_bounds(function, breakpoints)
    hermite, nonlinearity = _hermite_spectrum(function, [location for location, _ in breakpoints])
    return Profile(
        smoothness=min((order - 1.0 for _, order in breakpoints), default=math.inf),
        breakpoints=breakpoints,
        derivative_bounds=(first, second, third, fourth),
        polynomial_degree=_polynomial_degree(function),
        parity=_parity(function),
        nonlinearity=nonlinearity,
        hermite=hermite,
    )


def _hermite_spectrum(function: Function, breakpoints: list[float]) -> tuple[tuple[float, ...], float]:
    z, weights = gaussian_quadrature(function, breakpoints)
    values = function(z).detach()
    basis = hermite_functions(z, HERMITE_COUNT)
    coefficients = basis @ (weights * values)
    rest = values - coefficients[:2] @ basis[:2]
    power = float(weights @ values.square())
    return tuple(coefficients.tolist()), float(weights @ rest.square()) / power if power else 0.0


def _parity(function: Function) -> Literal["odd", "even"] | None:
    x = grid()
    values, mirrored = function(x).detach(), function(-x).detach()
    tolerance = 1e-12 * float(values.abs().max())
    if float((values - mirrored).abs().max()) <= tolerance:
        return "even"
    return "odd" if float((values + mirrored).abs().max()) <= tolerance else None


def _polynomial_degree(function: Function) -> int | None:
    """Degree at which the Chebyshev series of φ ends, if it ends at the same degree on both ranges.

    One range is not enough: on [−12, 12] tanh(x/100) is a polynomial up to rounding; on [−1200, 1200] a
    narrow bump can lie between the nodes.
    """
    degrees = {_chebyshev_degree(function, radius) for radius in (HALF_RANGE, 100 * HALF_RANGE)}
    degree = degrees.pop()
    return None if degrees or degree > MAX_POLYNOMIAL_DEGREE else degree


def _chebyshev_degree(function: Function, radius: float) -> int:
    """Index of the last of 64 Chebyshev coefficients of φ(radius·t) that is above rounding."""
    nodes = chebyshev.chebpts1(64)
    values = function(torch.from_numpy(radius * nodes)).detach().numpy()
    if not np.isfinite(values).all():
        return 63
    size = np.abs(chebyshev.chebfit(nodes, values, 63))
    significant = np.flatnonzero(size > 1e-12 * size.max())
    return int(significant[-1]) if significant.size else 0
