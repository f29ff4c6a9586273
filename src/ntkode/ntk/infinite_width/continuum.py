"""Infinite-width kernels of the exact flow, for pairs of inputs, by collocation in time."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from numpy.polynomial import Chebyshev
from torch import Tensor

from ntkode.activations import Activation
from ntkode.ntk.infinite_width.duals.dispatch import DualActivation, dual_activation
from ntkode.ntk.infinite_width.pair_kernel import Limits, PairKernel, in_chunks
from ntkode.ntk.infinite_width.picard import Dual, Integral, Trajectories, iterate
from ntkode.ntk.infinite_width.time_rules import (
    TensorRule,
    TriangleRule,
    gauss_rule,
    interpolation,
    triangle_rule,
)

TRIANGLE_LEVELS = (6, 8, 11, 14, 18, 24, 32, 44)
GAUSS_LEVELS = (4, 6, 8, 10, 13, 16, 20, 26, 34, 44, 56)


class BlowUpError(ValueError):
    """The variance K(t, t) diverges before the horizon, so the infinite-width flow does not exist.

    Attributes:
        critical: σ_w·T at which it diverges, accurate to about 1 %.
    """

    def __init__(self, message: str, critical: float) -> None:
        super().__init__(message)
        self.critical = critical


class Continuum(PairKernel):
    """Kernels of the exact flow, for γ = σ_w·T.

    The number of nodes increases separately for each pair until two levels differ by less than the tolerance.
    The difference is the error estimate of the finer level.

    Args:
        activation: φ.
        gamma: σ_w·T.
        tolerance: error bound for each kernel: absolute below one, relative above.
    """

    def __init__(self, activation: Activation, gamma: float, tolerance: float) -> None:
        super().__init__()
        self._activation = activation
        self._dual: DualActivation = dual_activation(activation, 0.1 * tolerance)
        self._gamma = gamma
        self._tolerance = tolerance
        # Jumps of φ' cause kinks of Φ' at ρ = 1 and cones at ρ = −1; jumps of φ'' cause milder ones.
        self._kinked = activation.profile.smoothness < math.inf
        # Near a kink of Φ' at ρ = ±1, an error ε of the variances causes an error √ε.
        self._curve_tolerance = min(tolerance, 1e-12) if self._kinked else tolerance

    def solve_diagonal(self, q: Tensor) -> tuple[Limits, Tensor]:
        """Kernels of x = x', and v(s) = K(s, s) at 0 and the Radau nodes, shape (P, m + 1).

        Raises:
            BlowUpError: the variance diverges before the horizon.
        """
        previous: tuple[Tensor, Tensor] | None = None
        survival_known = False
        for level in TRIANGLE_LEVELS:
            solve = partial(self._solve_triangle, triangle_rule(level), self._gamma)
            nngp, ntk, curves = in_chunks(solve, [q], numbers=level**2)
            if not survival_known and not bool(ntk.isfinite().all()):
                # More nodes help before a blow-up but not beyond it; the largest variance decides.
                if not bool(self._curve(float(q.max()), self._gamma, TRIANGLE_LEVELS[-1]).isfinite().all()):
                    self._raise_blow_up(float(q.max()))
                survival_known = True
            if previous is not None:
                error = _difference(nngp, ntk, *previous)
                settled = _difference(nngp, nngp, previous[0], previous[0]) <= self._curve_tolerance
                if bool((settled & (error <= self._tolerance)).all()):
                    break
            previous = nngp, ntk
        return Limits(nngp, ntk, error), curves

    def solve_pairs(self, curves1: Tensor, curves2: Tensor, cosine: Tensor) -> Limits:
        """Kernels of pairs x ≠ x' (slow for x = x'), from the curves of `solve_diagonal`."""
        nngp, ntk = torch.full_like(cosine, math.nan), torch.full_like(cosine, math.nan)
        error = torch.full_like(cosine, math.inf)
        active = torch.arange(len(cosine), device=cosine.device)
        for level in TRIANGLE_LEVELS if self._kinked else GAUSS_LEVELS:
            solve = partial(self._split_pairs if self._kinked else self._smooth_pairs, level)
            numbers = 2 * level**2 if self._kinked else level**2
            solution = in_chunks(solve, [curves1[active], curves2[active], cosine[active]], numbers)
            new_nngp, new_ntk = solution
            error[active] = _difference(new_nngp, new_ntk, nngp[active], ntk[active])
            nngp[active], ntk[active] = solution
            active = active[~(error[active] <= self._tolerance)]
            if not len(active):
                break
        return Limits(nngp, ntk, error)

    def _solve_triangle(self, rule: TriangleRule, gamma: float, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at_t, on_diagonal = rule.at_t.to(q.device), rule.on_diagonal.to(q.device)
        level = len(on_diagonal)

        def variances(kernel: Tensor) -> Tensor:
            return torch.cat([q[:, None], kernel[:, on_diagonal]], dim=1)

        def dual(kernel: Tensor) -> tuple[Tensor, Tensor]:
            curve = variances(kernel)
            at_s = curve[:, 1:].repeat_interleave(level, dim=1)
            other = curve @ at_t.T
            # At t = s the two variances are the same number, so ρ = 1 exactly.
            other[:, on_diagonal] = at_s[:, on_diagonal]
            return self._dual(at_s, other, kernel)

        k0 = q[:, None].expand(-1, level**2).contiguous()
        solution = iterate(k0, gamma, dual, rule.integrate_symmetric, 0.03 * self._curve_tolerance)
        phi, slope = solution.phi[:, -1], solution.slope[:, -1]
        return phi, phi + slope * solution.tangent[:, -1], variances(solution.kernel)

    def _smooth_pairs(
        self, level: int, curve1: Tensor, curve2: Tensor, cosine: Tensor
    ) -> tuple[Tensor, Tensor]:
        rule: TensorRule = gauss_rule(level)
        at_nodes = _interpolation(curve1, rule.times)
        va, vb = (curve1 @ at_nodes)[:, :, None], (curve2 @ at_nodes)[:, None, :]
        k0 = cosine * (curve1[:, 0] * curve2[:, 0]).sqrt()
        grid = k0[:, None, None].expand(-1, level, level).contiguous()
        solution = self._iterate(grid, lambda k: self._dual(va, vb, k), rule.integrate)
        k, theta = solution.limits(k0, self._gamma, rule.total)
        phi, slope = self._dual(curve1[:, -1], curve2[:, -1], k)
        return phi, phi + slope * theta

    def _split_pairs(
        self, level: int, curve1: Tensor, curve2: Tensor, cosine: Tensor
    ) -> tuple[Tensor, Tensor]:
        rule = triangle_rule(level)
        at_s, at_t = _interpolation(curve1, rule.s), _interpolation(curve1, rule.t)
        # The second triangle is the mirror image: x at t, x' at s.
        va = torch.stack([curve1 @ at_s, curve1 @ at_t], dim=1)
        vb = torch.stack([curve2 @ at_t, curve2 @ at_s], dim=1)
        k0 = cosine * (curve1[:, 0] * curve2[:, 0]).sqrt()
        grid = k0[:, None, None].expand(-1, 2, level**2).contiguous()
        solution = self._iterate(grid, lambda k: self._dual(va, vb, k), rule.integrate)
        phi, slope = solution.phi[:, 0, -1], solution.slope[:, 0, -1]
        return phi, phi + slope * solution.tangent[:, 0, -1]

    def _iterate(self, k0: Tensor, dual: Dual, integrate: Integral) -> Trajectories:
        return iterate(k0, self._gamma, dual, integrate, 0.03 * self._tolerance)

    def _raise_blow_up(self, q: float) -> None:
        critical = self.critical(q)
        beyond = f"before σ_w·T = {self._gamma:.3g}"
        if critical > self._gamma:
            beyond = f"too close to σ_w·T = {self._gamma:.3g} to be resolved"
        raise BlowUpError(
            f"activation {self._activation.name!r}: at infinite width the variance K(t, t) blows up at "
            f"σ_w·t ≈ {critical:.3g} for K(0, 0) = {q:.3g} (the largest of these inputs), {beyond}; "
            f"try model.horizon={0.5 * critical:.2g} (if σ_w = 1)",
            critical,
        )

    def critical(self, q: float) -> float:
        """Value of σ_w·T at which the flow from K(0, 0) = q blows up, if it does so before γ.

        Bisection gives the largest γ at which collocation converges, a few per cent lower. From there
        v ≈ C/(R − s)^α is extrapolated: v/v' ≈ (R − s)/α is nearly linear for every α.
        """
        low, high = 0.0, self._gamma
        while high - low > 0.01 * high:
            middle = (low + high) / 2
            survives = bool(self._curve(q, middle, level=18).isfinite().all())
            low, high = (middle, high) if survives else (low, middle)
        start = 0.95 * low
        v = Chebyshev.fit(triangle_rule(32).curve_times, self._curve(q, start, level=32), 32, domain=[0, 1])
        s = np.linspace(0.8, 1.0, 9)
        roots = np.roots(np.polyfit(s - 1, v(s) / v.deriv()(s), 2))
        return start * (1 + min((float(r.real) for r in roots if r.real > 0), default=0.0))

    def _curve(self, q: float, gamma: float, level: int) -> Tensor:
        start = torch.tensor([q], dtype=torch.float64)
        return self._solve_triangle(triangle_rule(level), gamma, start)[2][0]


def _interpolation(curves: Tensor, times: Tensor) -> Tensor:
    """Matrix (m + 1, len(times)) that maps curves to their values at these times."""
    known = triangle_rule(curves.shape[1] - 1).curve_times
    return interpolation(known, times).T.to(curves.device)


def _difference(nngp: Tensor, ntk: Tensor, old_nngp: Tensor, old_ntk: Tensor) -> Tensor:
    """Larger change of the two kernels, relative above one; inf if a value is NaN."""
    change = torch.maximum((nngp - old_nngp).abs(), (ntk - old_ntk).abs()) / ntk.abs().clamp_min(1.0)
    return change.nan_to_num(nan=math.inf, posinf=math.inf)
