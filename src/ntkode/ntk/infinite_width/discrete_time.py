"""Exact infinite-width kernels of discretised flows: Euler networks and Runge–Kutta solves."""

from __future__ import annotations

import torch
from torch import Tensor

from ntkode.ntk.infinite_width.duals.dispatch import DualActivation
from ntkode.ntk.infinite_width.pair_kernel import Limits, PairKernel, in_chunks
from ntkode.ntk.infinite_width.picard import iterate
from ntkode.ntk.infinite_width.time_rules import RungeKutta
from ntkode.ntk.sums import cumulative_sum


class EulerNetwork(PairKernel):
    """Kernels of the residual network of depth L, h_{l+1} = h_l + T/L · σ_w/√n · W φ(h_l).

    K_{l+1,m} = K_{l,m} + (γ/L)² Σ_{b<m} Φ_{l,b}, row by row, and likewise for Θ with Φ + Φ'·Θ. Memory: L + 1
    numbers per pair.

    Args:
        dual: (Φ, Φ'), the dual of φ.
        gamma: σ_w·T.
        depth: L, number of layers.
    """

    def __init__(self, dual: DualActivation, gamma: float, depth: int) -> None:
        super().__init__()
        self._dual = dual
        self._squared_step = (gamma / depth) ** 2
        self._depth = depth

    def solve_diagonal(self, q: Tensor) -> tuple[Limits, Tensor]:
        """Kernels of x = x', and K_{l,l} for l = 0, …, L, shape (P, L + 1)."""
        nngp, ntk, curves = in_chunks(self._solve_diagonal, [q], numbers=self._depth + 1)
        return Limits(nngp, ntk, torch.zeros_like(nngp)), curves

    def solve_pairs(self, curves1: Tensor, curves2: Tensor, cosine: Tensor) -> Limits:
        """Kernels of pairs, from the curves of `solve_diagonal`."""
        nngp, ntk = in_chunks(self._solve, [curves1, curves2, cosine], numbers=self._depth + 1)
        return Limits(nngp, ntk, torch.zeros_like(nngp))

    def _solve(self, va: Tensor, vb: Tensor, cosine: Tensor) -> tuple[Tensor, Tensor]:
        k0 = cosine * (va[:, 0] * vb[:, 0]).sqrt()
        kernel = tangent = k0[:, None].expand(-1, self._depth + 1)
        for row in range(self._depth):
            phi, slope = self._dual(va[:, row, None], vb, kernel)
            kernel = kernel + self._squared_step * _sum_before(phi)
            tangent = tangent + self._squared_step * _sum_before(phi + slope * tangent)
        phi, slope = self._dual(va[:, -1], vb[:, -1], kernel[:, -1])
        return phi, phi + slope * tangent[:, -1]

    def _solve_diagonal(self, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # Row l is known up to m = l; by symmetry the row sum at its last entry is a column sum.
        curve = q.new_empty(len(q), self._depth + 1)
        curve[:, 0] = q
        kernel = tangent = q[:, None]
        for row in range(self._depth):
            phi, slope = self._dual(curve[:, row, None], curve[:, : row + 1], kernel)
            flow = phi + slope * tangent
            kernel = self._next_row(kernel, phi)
            tangent = self._next_row(tangent, flow)
            curve[:, row + 1] = kernel[:, -1]
        phi, slope = self._dual(curve[:, -1], curve[:, -1], curve[:, -1])
        return phi, phi + slope * tangent[:, -1], curve

    def _next_row(self, row: Tensor, integrand: Tensor) -> Tensor:
        """K_{l+1,0…l+1} from K_{l,0…l} and the integrand at these nodes."""
        sums = cumulative_sum(integrand, 1)
        up_to_diagonal = row + self._squared_step * (sums - integrand)
        # K_{l+1,l+1} − K_{l+1,l} = (γ/L)² Σ_{a≤l} Φ_{a,l}, a column equal to row l by symmetry.
        corner = up_to_diagonal[:, -1:] + self._squared_step * sums[:, -1:]
        return torch.cat([up_to_diagonal, corner], dim=1)


class RungeKuttaSolve(PairKernel):
    """Kernels of the network whose flow is solved by a Runge–Kutta method.

    K = K0 + γ² A Φ Aᵀ and Θ = K0 + γ² A (Φ + Φ'∘Θ) Aᵀ over all stages of all steps, by Picard iteration to
    rounding (finite for an explicit method). Memory: S² numbers per pair, S = stages · steps.

    Args:
        dual: (Φ, Φ'), the dual of φ.
        gamma: σ_w·T.
        method: tableau and number of steps.
    """

    def __init__(self, dual: DualActivation, gamma: float, method: RungeKutta) -> None:
        super().__init__()
        self._dual = dual
        self._gamma = gamma
        self._rule = method.stages()

    def solve_diagonal(self, q: Tensor) -> tuple[Limits, Tensor]:
        """Kernels of x = x', and the variances at start, stages and end, shape (P, S + 2)."""
        nngp, ntk, curves = in_chunks(self._solve_diagonal, [q], numbers=len(self._rule.weights) ** 2)
        return Limits(nngp, ntk, torch.zeros_like(nngp)), curves

    def solve_pairs(self, curves1: Tensor, curves2: Tensor, cosine: Tensor) -> Limits:
        """Kernels of pairs, from the curves of `solve_diagonal`."""
        nngp, ntk = in_chunks(self._solve, [curves1, curves2, cosine], numbers=len(self._rule.weights) ** 2)
        return Limits(nngp, ntk, torch.zeros_like(nngp))

    def _solve(self, va: Tensor, vb: Tensor, cosine: Tensor) -> tuple[Tensor, Tensor]:
        stages = len(self._rule.weights)
        first, second = va[:, 1:-1, None], vb[:, None, 1:-1]
        k0 = cosine * (va[:, 0] * vb[:, 0]).sqrt()
        grid = k0[:, None, None].expand(-1, stages, stages).contiguous()
        solution = iterate(
            grid, self._gamma, lambda k: self._dual(first, second, k), self._rule.integrate, 1e-15
        )
        k, theta = solution.limits(k0, self._gamma, self._rule.total)
        phi, slope = self._dual(va[:, -1], vb[:, -1], k)
        return phi, phi + slope * theta

    def _solve_diagonal(self, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stages = len(self._rule.weights)

        def dual(kernel: Tensor) -> tuple[Tensor, Tensor]:
            v = kernel.diagonal(dim1=1, dim2=2)
            return self._dual(v[:, :, None], v[:, None, :], kernel)

        grid = q[:, None, None].expand(-1, stages, stages).contiguous()
        solution = iterate(grid, self._gamma, dual, self._rule.integrate, 1e-15)
        k, theta = solution.limits(q, self._gamma, self._rule.total)
        phi, slope = self._dual(k, k, k)
        curve = torch.cat([q[:, None], solution.kernel.diagonal(dim1=1, dim2=2), k[:, None]], dim=1)
        return phi, phi + slope * theta, curve


def _sum_before(values: Tensor) -> Tensor:
    """Sums Σ_{b<m} values_b along the last axis, for every m."""
    return cumulative_sum(values, -1) - values
