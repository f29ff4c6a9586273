"""Infinite-width kernels of the exact flow, pair by pair, by collocation in time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ntkode.activations import Activation
from ntkode.ntk.dual_activations import DualActivation, dual_activation
from ntkode.ntk.picard import Trajectories, iterate
from ntkode.ntk.time_rules import TensorRule, TriangleRule, gauss_rule, interpolation, triangle_rule

TRIANGLE_LEVELS = (6, 8, 11, 14, 18, 24, 32, 44)
GAUSS_LEVELS = (4, 6, 8, 10, 13, 16, 20, 26, 34, 44, 56)
# Elements of one array that are worked on at once: fits the caches of a core, with its temporaries.
_CHUNK = 2**17


class BlowUpError(ValueError):
    """The variance K(t, t) reaches infinity before the horizon: the infinite-width flow does not exist.

    Attributes:
        critical: the value of σ_w·T at which it does, to about 1 %.
    """

    def __init__(self, message: str, critical: float) -> None:
        super().__init__(message)
        self.critical = critical


@dataclass(frozen=True)
class Limits:
    """Kernels for σ_v = 1, shape (P,), and a bound on the error of either, shape (P,)."""

    nngp: Tensor
    ntk: Tensor
    error: Tensor


class PairKernel(Protocol):
    """Kernels of pairs of inputs, known by q = K0(x, x), q' and their cosine."""

    def diagonal(self, q: Tensor) -> Limits:
        """x = x', for q of shape (P,)."""

    def pairs(self, q1: Tensor, q2: Tensor, cosine: Tensor) -> Limits:
        """x ≠ x', for q, q' and cosines of shape (P,)."""


class Continuum:
    """The limit of the exact flow, for γ = σ_w·T.

    The number of nodes is raised, for each pair by itself, until two levels differ by less than the
    tolerance; that difference is the error estimate of the finer one.

    Args:
        activation: φ.
        gamma: σ_w·T.
        tolerance: on either kernel; relative for values above one.
    """

    def __init__(self, activation: Activation, gamma: float, tolerance: float) -> None:
        self._activation = activation
        self._dual: DualActivation = dual_activation(activation, 0.01 * tolerance)
        self._gamma = gamma
        self._tolerance = tolerance
        # Kinks of φ' come back as kinks of Φ' at ρ = 1 and cones at ρ = −1, milder ones of φ'' likewise.
        self._kinked = activation.profile.smoothness < math.inf

    def diagonal(self, q: Tensor) -> Limits:
        """Kernels of x = x'.

        Raises:
            BlowUpError: the flow ends before the horizon.
        """
        return self._diagonal(q)[0]

    def pairs(self, q1: Tensor, q2: Tensor, cosine: Tensor) -> Limits:
        """Kernels of pairs x ≠ x' (x = x' too, but slowly).

        Raises:
            BlowUpError: the flow ends before the horizon.
        """
        distinct, index = torch.unique(torch.cat([q1, q2]), return_inverse=True)
        _, curves, rule = self._diagonal(distinct)
        first, second = index.split(len(q1))
        levels = TRIANGLE_LEVELS if self._kinked else GAUSS_LEVELS
        nngp, ntk = torch.full_like(q1, math.nan), torch.full_like(q1, math.nan)
        error = torch.full_like(q1, math.inf)
        active = torch.arange(len(q1), device=q1.device)
        for level in levels:
            size = max(1, _CHUNK // (2 * level**2 if self._kinked else level**2))
            solve = self._split_pairs if self._kinked else self._smooth_pairs
            parts = [
                solve(level, rule.curve_times, curves[first[p]], curves[second[p]], cosine[p])
                for p in active.split(size)
            ]
            new_nngp, new_ntk = (torch.cat(part) for part in zip(*parts, strict=True))
            error[active] = _difference(new_nngp, new_ntk, nngp[active], ntk[active])
            nngp[active], ntk[active] = new_nngp, new_ntk
            active = active[~(error[active] <= self._tolerance)]
            if not len(active):
                break
        return Limits(nngp, ntk, error)

    def _diagonal(self, q: Tensor) -> tuple[Limits, Tensor, TriangleRule]:
        """Kernels of x = x', and v(s) = K(s, s) at the rule's curve times, shape (P, m + 1)."""
        previous: tuple[Tensor, Tensor] | None = None
        failures = 0
        for level in TRIANGLE_LEVELS:
            rule = triangle_rule(level)
            size = max(1, _CHUNK // level**2)
            parts = [self._solve_diagonal(rule, part, self._gamma) for part in q.split(size)]
            nngp, ntk, curves = (torch.cat(part) for part in zip(*parts, strict=True))
            failures = 0 if bool(ntk.isfinite().all()) else failures + 1
            if failures == 3:
                self._raise_blow_up(float(q.max()))
            if previous is not None:
                error = _difference(nngp, ntk, *previous)
                if bool((error <= self._tolerance).all()):
                    break
            previous = nngp, ntk
        return Limits(nngp, ntk, error.nan_to_num(nan=math.inf)), curves, rule

    def _solve_diagonal(self, rule: TriangleRule, q: Tensor, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
        at_t, on_diagonal = rule.at_t.to(q.device), rule.on_diagonal.to(q.device)
        level = len(on_diagonal)

        def variances(kernel: Tensor) -> Tensor:
            return torch.cat([q[:, None], kernel[:, on_diagonal]], dim=1)

        def dual(kernel: Tensor) -> tuple[Tensor, Tensor]:
            curve = variances(kernel)
            at_s = curve[:, 1:].repeat_interleave(level, dim=1)
            other = curve @ at_t.T
            # Where t = s the two variances are the same number, so that ρ = 1 exactly.
            other[:, on_diagonal] = at_s[:, on_diagonal]
            return self._dual(at_s, other, kernel)

        k0 = q[:, None].expand(-1, level**2).contiguous()
        found = self._iterate(k0, gamma, dual, rule.integrate_symmetric)
        v, theta = found.kernel[:, -1], found.tangent[:, -1]
        phi, slope = found.phi[:, -1], found.slope[:, -1]
        return phi, phi + slope * theta, variances(found.kernel) + 0 * v[:, None]

    def _smooth_pairs(
        self, level: int, times: Tensor, curve1: Tensor, curve2: Tensor, cosine: Tensor
    ) -> tuple[Tensor, Tensor]:
        rule: TensorRule = gauss_rule(level)
        at_nodes = interpolation(times, rule.times).T.to(curve1.device)
        va, vb = (curve1 @ at_nodes)[:, :, None], (curve2 @ at_nodes)[:, None, :]
        k0 = cosine * (curve1[:, 0] * curve2[:, 0]).sqrt()
        grid = k0[:, None, None].expand(-1, level, level).contiguous()
        found = self._iterate(grid, self._gamma, lambda k: self._dual(va, vb, k), rule.integrate)
        k, theta = found.limits(k0, self._gamma, rule.total)
        phi, slope = self._dual(curve1[:, -1], curve2[:, -1], k)
        return phi, phi + slope * theta

    def _split_pairs(
        self, level: int, times: Tensor, curve1: Tensor, curve2: Tensor, cosine: Tensor
    ) -> tuple[Tensor, Tensor]:
        rule = triangle_rule(level)
        at_s = interpolation(times, rule.s).T.to(curve1.device)
        at_t = interpolation(times, rule.t).T.to(curve1.device)
        # The second triangle is the mirror image: x at t, x' at s.
        va = torch.stack([curve1 @ at_s, curve1 @ at_t], dim=1)
        vb = torch.stack([curve2 @ at_t, curve2 @ at_s], dim=1)
        k0 = cosine * (curve1[:, 0] * curve2[:, 0]).sqrt()
        grid = k0[:, None, None].expand(-1, 2, level**2).contiguous()
        found = self._iterate(grid, self._gamma, lambda k: self._dual(va, vb, k), rule.integrate)
        phi, slope = found.phi[:, 0, -1], found.slope[:, 0, -1]
        return phi, phi + slope * found.tangent[:, 0, -1]

    def _iterate(self, k0, gamma, dual, integrate) -> Trajectories:  # noqa: ANN001
        return iterate(k0, gamma, dual, integrate, 0.03 * self._tolerance)

    def _raise_blow_up(self, q: float) -> None:
        critical = self.critical(q)
        raise BlowUpError(
            f"activation {self._activation.name!r}: at infinite width the variance K(t, t) blows up at "
            f"σ_w·t ≈ {critical:.3g} for K(0, 0) = {q:.3g} (the largest of these inputs), before "
            f"σ_w·T = {self._gamma:.3g}; try model.horizon={0.5 * critical:.2g} (with σ_w = 1)",
            critical,
        )

    def critical(self, q: float) -> float:
        """The largest σ_w·T that the flow from K(0, 0) = q survives, by bisection on convergence."""
        rule = triangle_rule(TRIANGLE_LEVELS[-3])
        start = torch.tensor([q], dtype=torch.float64)
        low, high = 0.0, self._gamma
        while high - low > 1e-3 * high:
            middle = (low + high) / 2
            finite = bool(self._solve_diagonal(rule, start, middle)[1].isfinite().all())
            low, high = (middle, high) if finite else (low, middle)
        return high


def _difference(nngp: Tensor, ntk: Tensor, old_nngp: Tensor, old_ntk: Tensor) -> Tensor:
    """The larger change of the two, relative above one; inf where either is missing."""
    change = torch.maximum((nngp - old_nngp).abs(), (ntk - old_ntk).abs()) / ntk.abs().clamp_min(1.0)
    return change.nan_to_num(nan=math.inf)
