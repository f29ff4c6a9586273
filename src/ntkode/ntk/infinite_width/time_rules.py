"""Rules for the double integral ∫₀ˢ∫₀ᵗ g(a, b) db da over unit time, from the values of g at nodes (s, t).

`integrate` maps values at the nodes to the integrals up to each node, `total` to the integral over [0, 1]².
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import BarycentricInterpolator
from scipy.special import roots_jacobi
from torch import Tensor

from ntkode.integrate import TABLEAUX, Solver

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RungeKutta:
    """`steps` equal steps of a Runge–Kutta method with coefficients a (r, r) and weights b (r,), as tuples.

    Raises:
        ValueError: the shapes do not match, an entry is not finite, or the weights do not sum to 1.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    steps: int = 1

    def __post_init__(self) -> None:
        a, b = np.asarray(self.a, dtype=float), np.asarray(self.b, dtype=float)
        if b.ndim != 1 or a.shape != (len(b), len(b)) or not np.isfinite(a).all() or not np.isfinite(b).all():
            raise ValueError(
                f"a tableau needs finite a of shape (r, r) and b of shape (r,), not {a.shape}, {b.shape}"
            )
        if abs(b.sum() - 1) > 1e-12:
            raise ValueError(f"the weights b of a tableau must add up to 1, not {b.sum():g}")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"steps={self.steps} must be an integer ≥ 1, as in steps=10")

    @classmethod
    def of(cls, solver: Solver) -> RungeKutta:
        """Tableau and steps of a fixed-step `Solver` (torchdiffeq's `rk4` is the 3/8 rule).

        Raises:
            ValueError: the solver is adaptive or `implicit_adams`, which have no tableau here.
        """
        if solver.method not in TABLEAUX or solver.steps is None:
            raise ValueError(
                f"{solver} has no exact infinite-width limit (only {', '.join(TABLEAUX)} do): "
                "use solver=rk4, or omit the tableau for the limit of the exact flow"
            )
        a, b = TABLEAUX[solver.method]
        return cls(a, b, solver.steps)

    def stages(self) -> TensorRule:
        """All steps as one method with r·steps stages on [0, 1]."""
        a, b, h = np.array(self.a), np.array(self.b), 1 / self.steps
        before = np.tril(np.ones((self.steps, self.steps)), -1)
        whole = np.kron(np.eye(self.steps), h * a) + np.kron(before, np.tile(h * b, (len(b), 1)))
        return TensorRule(_tensor(whole), _tensor(np.tile(h * b, self.steps)))


@dataclass(frozen=True)
class TensorRule:
    """Runge–Kutta rule with stage matrix A and weights b: nodes (s_i, s_j), double integral A g Aᵀ.

    Attributes:
        matrix: A, shape (S, S).
        weights: b, shape (S,).
    """

    matrix: Tensor
    weights: Tensor

    @property
    def times(self) -> Tensor:
        """Times of the stages in [0, 1]: s = A·1, shape (S,)."""
        return self.matrix.sum(1)

    def integrate(self, g: Tensor) -> Tensor:
        """Integrals up to the nodes, A g Aᵀ, shape (P, S, S)."""
        matrix = self.matrix.to(g.device)
        return matrix @ g @ matrix.T

    def total(self, g: Tensor) -> Tensor:
        """Integral over [0, 1]², bᵀ g b, shape (P,)."""
        weights = self.weights.to(g.device)
        return g @ weights @ weights


@cache
def gauss_rule(nodes: int) -> TensorRule:
    """Gauss–Legendre collocation in one step, exact for polynomials (Hairer, Nørsett, Wanner 1993, II.7)."""
    unit, weights = np.polynomial.legendre.leggauss(nodes)
    times = (1 + unit) / 2
    matrix = np.stack([weights / 2 @ _lagrange(times, t * times) * t for t in times])
    return TensorRule(_tensor(matrix), _tensor(weights / 2))


@dataclass(frozen=True)
class TriangleRule:
    """Spectral collocation on 0 ≤ t ≤ s ≤ 1, for g that is smooth there and has a kink across s = t.

    In the coordinates (s, τ = t/s), g is interpolated at Radau nodes, which include 1, so the last node is
    (1, 1). The coordinates also resolve a conical point at (0, 0). A function on the square is a pair of
    functions on the triangle, g and its mirror image ĝ(s, t) = g(t, s):

        ∫₀ˢ∫₀ᵗ g = ∫∫_{b<a<t} (g + ĝ) + ∫ₜˢ da ∫₀ᵗ db g = square·(g + ĝ) + strip·g.

    Attributes:
        s: first coordinate of the nodes, shape (n,), n = m².
        t: second coordinate of the nodes, shape (n,).
        square: matrix of the integral over b < a < t, shape (n, n).
        strip: matrix of the integral over t < a < s, b < t, shape (n, n).
        curve_times: 0 and the Radau nodes, shape (m + 1,): the times of v(s) = K(s, s).
        on_diagonal: indices of the nodes with t = s, shape (m,).
        at_t: interpolation from the curve's times to t, shape (n, m + 1).
    """

    s: Tensor
    t: Tensor
    square: Tensor
    strip: Tensor
    curve_times: Tensor
    on_diagonal: Tensor
    at_t: Tensor

    def integrate(self, g: Tensor) -> Tensor:
        """Integrals up to the nodes, for (g, ĝ) of shape (P, 2, n)."""
        square, strip = self.square.to(g.device), self.strip.to(g.device)
        return g @ strip.T + (g.sum(1, keepdim=True) @ square.T)

    def integrate_symmetric(self, g: Tensor) -> Tensor:
        """Integrals up to the nodes, for g = ĝ of shape (P, n)."""
        return g @ (2 * self.square + self.strip).T.to(g.device)


@cache
def triangle_rule(m: int) -> TriangleRule:
    """The rule with m nodes in s and m in τ."""
    nodes = _radau_nodes(m)
    s, tau = (grid.ravel() for grid in np.meshgrid(nodes, nodes, indexing="ij"))
    t = s * tau
    unit, weights = np.polynomial.legendre.leggauss(2 * m + 16)
    unit, weights = (1 + unit) / 2, weights / 2
    whole = weights @ _lagrange(nodes, unit)  # ∫₀¹ L_l(τ) dτ
    inner = t[:, None] * unit  # a ∈ [0, t]
    moments = np.einsum("pq,pqk->pk", t[:, None] * weights * inner, _lagrange(nodes, inner))
    square = moments[:, :, None] * whole
    # With a = t·eᵘ, (t/a)ˡ, steep at a = t, becomes an entire function of u ∈ [0, log 1/τ].
    reach = -np.log(nodes)
    outer = np.exp(reach[:, None] * unit)  # a/t, shape (m, Q), by τ
    fraction = 1 / outer
    cumulative = fraction[..., None] * np.einsum(
        "r,jqrl->jql", weights, _lagrange(nodes, fraction[..., None] * unit)
    )
    a = t.reshape(m, m, 1) * outer  # (s, τ, Q)
    scale = reach[:, None] * weights * a**2
    strip = np.einsum("ijq,ijqk,jql->ijkl", scale, _lagrange(nodes, a), cumulative, optimize=True)
    curve_times = np.append(0.0, nodes)
    return TriangleRule(
        s=_tensor(s),
        t=_tensor(t),
        square=_tensor(square.reshape(m * m, m * m)),
        strip=_tensor(strip.reshape(m * m, m * m)),
        curve_times=_tensor(curve_times),
        on_diagonal=torch.arange(m - 1, m * m, m),
        at_t=_tensor(_lagrange(curve_times, t)),
    )


def interpolation(curve_times: Tensor, times: Tensor) -> Tensor:
    """Matrix that maps values of a polynomial at `curve_times` to its values at `times`."""
    return _tensor(_lagrange(curve_times.numpy(), times.numpy()))


def _radau_nodes(m: int) -> Array:
    """The m Gauss–Radau nodes in (0, 1], which include 1."""
    return np.append((1 + roots_jacobi(m - 1, 1, 0)[0]) / 2, 1.0)


def _lagrange(nodes: Array, x: Array) -> Array:
    """Lagrange polynomials of the nodes at x, shape (*x.shape, nodes)."""
    return np.asarray(BarycentricInterpolator(nodes, np.eye(len(nodes)))(x))


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))
