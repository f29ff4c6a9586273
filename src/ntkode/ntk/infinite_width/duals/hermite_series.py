"""Φ and Φ' of any φ by the Hermite series Φ = Σ_k c_k(va) c_k(vb) ρᵏ, summed by Horner's rule.

c_k(v) = E[φ(√v Z) He_k(Z)]/√k! (Daniely et al. 2016, Lemma 11). They are tabulated once per octave of v.
If φ has a kink at 0, the products s_k(va) s_k(vb) of its `KinkPart` are subtracted and its dual is added.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor

from ntkode.activations import Activation
from ntkode.activations.hermite import hermite_functions
from ntkode.ntk.infinite_width.duals.closed_form import Pair, correlation
from ntkode.ntk.infinite_width.duals.kink_part import KinkPart, unit_coefficients
from ntkode.ntk.infinite_width.duals.pair_quadrature import PairQuadrature

# Numbers of terms: the first suffices off the diagonal, the last for tanh at ρ = 1 and variance 30.
LADDER = (64, 256, 1024, 4096)
_OCTAVE_NODES = 20  # Chebyshev nodes in log₂ v per octave; c_k is analytic in v > 0
_PANELS = 96
_REACH = 12.0


class HermiteSeries:
    """The dual of an activation by its Hermite series, truncated to a tolerance.

    Entries with ρ so close to ±1 that the largest number of terms in `LADDER` misses the tolerance (kinks,
    very steep φ) use `PairQuadrature`.

    Args:
        activation: φ.
        tolerance: bound on the truncated tails of Φ and Φ'.
    """

    def __init__(self, activation: Activation, tolerance: float) -> None:
        self._activation = activation
        self._tolerance = tolerance
        self._breakpoints = [location for location, _ in activation.profile.breakpoints]
        self._kink = KinkPart.of(activation)
        self._quadrature = PairQuadrature(activation)
        self._octave = cache(self._tabulate)

    def __call__(self, va: Tensor, vb: Tensor, c: Tensor) -> Pair:
        """(Φ, Φ') of the broadcast shape."""
        rho = correlation(va, vb, c)
        largest = float(rho.abs().max()) if rho.numel() else 0.0
        intervals = sorted(_intervals(va) | _intervals(vb))
        for available in LADDER:
            tails = self._tails(intervals, available)
            terms = _terms(tails, largest, self._tolerance)
            if terms is not None:
                return self._sum(va, vb, rho, terms, available)
        return self._split(va, vb, c, rho, tails)

    def _sum(self, va: Tensor, vb: Tensor, rho: Tensor, terms: int, available: int) -> Pair:
        first, second = (self._coefficients(v, terms, available) for v in (va, vb))
        value, slope = torch.zeros_like(rho), torch.zeros_like(rho)
        if self._kink is None:
            for k in range(terms - 1, -1, -1):
                slope.mul_(rho).add_(value)
                value.mul_(rho).addcmul_(first[k], second[k])
            return value, slope.div_((va * vb).sqrt())
        unit = _unit_coefficients(available)[:terms].to(rho.device)
        kink1, kink2 = (self._kink.coefficients(v, unit) for v in (va, vb))
        for k in range(terms - 1, -1, -1):
            slope.mul_(rho).add_(value)
            value.mul_(rho).addcmul_(first[k], second[k]).addcmul_(kink1[k], kink2[k], value=-1)
        kink_value, kink_slope = self._kink(va, vb, rho)
        return value + kink_value, slope.div_((va * vb).sqrt()) + kink_slope

    def _split(self, va: Tensor, vb: Tensor, c: Tensor, rho: Tensor, tails: np.ndarray) -> Pair:
        """The series if it reaches the tolerance at an entry, otherwise quadrature."""
        limit = max((r for r in np.linspace(0, 1, 101) if _terms(tails, r, self._tolerance)), default=0.0)
        inside = rho.abs() <= limit
        value, slope = torch.empty_like(rho), torch.empty_like(rho)
        va, vb, c = torch.broadcast_tensors(va, vb, c)
        value[~inside], slope[~inside] = self._quadrature(va[~inside], vb[~inside], c[~inside])
        if bool(inside.any()):
            value[inside], slope[inside] = self(va[inside], vb[inside], c[inside])
        return value, slope

    def _coefficients(self, v: Tensor, terms: int, available: int) -> Tensor:
        """Hermite coefficients c_k of φ(√v z), shape (terms, *v.shape)."""
        position = torch.log2(v).flatten()
        interval = torch.floor(position)
        result = v.new_empty(terms, v.numel())
        for index in torch.unique(interval).tolist():
            here = (interval == index).nonzero()[:, 0]
            basis = _chebyshev_values(2 * (position[here] - index) - 1)
            result[:, here] = self._octave(int(index), available)[:terms].to(v.device) @ basis
        return result.reshape(terms, *v.shape)

    def _tails(self, intervals: list[int], available: int) -> np.ndarray:
        """Bounds on the terms over the intervals, (available + 1,); the last bounds all further terms."""
        largest = np.zeros(available)
        for index in intervals:
            nodes = self._octave(index, available) @ torch.from_numpy(_chebyshev_values_at_nodes())
            bound = nodes.square()
            if self._kink is not None:
                v = 2.0 ** torch.from_numpy(index + (1 + chebyshev.chebpts1(_OCTAVE_NODES)) / 2)
                kink = self._kink.coefficients(v, _unit_coefficients(available))
                # |c c' − s s'| ≤ |c − s||c'| + |s||c' − s'|
                bound = (nodes - kink).abs().amax(1, keepdim=True) * (nodes.abs() + kink.abs())
            # Φ' divides by √(va·vb).
            largest = np.maximum(largest, bound.amax(1).numpy() * max(1.0, 2.0**-index))
        return np.append(largest, largest[-available // 8 :].max())

    def _tabulate(self, index: int, available: int) -> Tensor:
        """Chebyshev coefficients of c_k(v) in log₂ v ∈ [index, index + 1], shape (available, nodes)."""
        positions = index + (1 + chebyshev.chebpts1(_OCTAVE_NODES)) / 2
        values = torch.stack([self._at(2.0**position, available) for position in positions], dim=1)
        return values @ torch.from_numpy(np.linalg.inv(_chebyshev_values_at_nodes()))

    def _at(self, v: float, available: int) -> Tensor:
        root = math.sqrt(v)
        # 0 is already an edge of the rule's panels.
        inside = tuple(b / root for b in self._breakpoints if 0 < abs(b / root) < _REACH)
        z, weighted_basis = _common_basis(available) if not inside else _weighted_basis(available, inside)
        return weighted_basis @ self._activation(root * z).detach()


@cache
def _common_basis(available: int) -> Pair:
    return _weighted_basis(available, ())


@cache
def _unit_coefficients(available: int) -> Tensor:
    return unit_coefficients(*_common_basis(available))


def _weighted_basis(available: int, breakpoints: tuple[float, ...]) -> Pair:
    """Nodes z, and w(z)·He_k(z)/√k!, (available, nodes), which map φ(√v z) to E[φ(√v Z)He_k(Z)]/√k!."""
    z, weights = _normal_rule(breakpoints)
    return z, hermite_functions(z, available).mul_(weights)


def _terms(bounds: np.ndarray, rho: float, tolerance: float) -> int | None:
    """Smallest number of terms with tails of Φ and Φ' below the tolerance; None if there are too few."""
    available = len(bounds) - 1
    k = np.arange(available)
    # Beyond the table, c_k² counts with its last bound for another min(1/(1 − ρ), `available`) terms.
    more = available if rho >= 1 - 1 / available else 1 / (1 - rho)
    beyond = bounds[-1] * available * rho**available * more
    tail = np.cumsum((bounds[:-1] * np.maximum(k, 1) * rho ** np.maximum(k - 1, 0))[::-1])[::-1] + beyond
    enough = np.flatnonzero(np.append(tail, beyond) <= tolerance)
    return max(1, int(enough[0])) if enough.size else None


def _intervals(v: Tensor) -> set[int]:
    return {int(i) for i in torch.unique(torch.floor(torch.log2(v))).tolist()}


def _chebyshev_values(x: Tensor) -> Tensor:
    """Chebyshev polynomials T_j(x), j < _OCTAVE_NODES, shape (_OCTAVE_NODES, len(x))."""
    rows = [torch.ones_like(x), x]
    for _ in range(_OCTAVE_NODES - 2):
        rows.append(2 * x * rows[-1] - rows[-2])
    return torch.stack(rows)


@cache
def _chebyshev_values_at_nodes() -> np.ndarray:
    return chebyshev.chebvander(chebyshev.chebpts1(_OCTAVE_NODES), _OCTAVE_NODES - 1).T


def _normal_rule(breakpoints: tuple[float, ...]) -> Pair:
    """Nodes and weights of Gauss–Legendre panels on [−12, 12] for the normal density; edges at breakpoints.

    Panels of 1/4 with 20 nodes resolve the oscillations of He_k, of wave number √k, up to k = 4096.
    """
    edges = torch.tensor(sorted({*np.linspace(-_REACH, _REACH, _PANELS + 1).tolist(), *breakpoints}))
    edges = edges.to(torch.float64)
    unit, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(20))
    half = torch.diff(edges)[:, None] / 2
    z = (edges[:-1, None] + half * (1 + unit)).flatten()
    return z, (half * weights).flatten() * torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
