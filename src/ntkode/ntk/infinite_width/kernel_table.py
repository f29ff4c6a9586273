"""Kernels of many pairs by Chebyshev interpolation in log q, log q' and the angle θ of the inputs.

A kernel depends on a pair of inputs through q = K0(x, x), q' and θ = arccos(K0(x, x')/√(qq')) alone. ReLU's
kernels are smooth in θ but not in cos θ. For inputs of equal norm θ is the only variable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor

from ntkode.ntk.infinite_width.pair_kernel import Limits, PairKernel

HELD_OUT = 64
_FIRST_ANGLES = 16
_GROWTH = 1.4
_SAFETY = 3.0  # the error at other pairs may exceed that at held-out pairs


@dataclass(frozen=True)
class Range:
    """Interval of one variable; a point if all inputs have the same value."""

    low: float
    high: float

    @property
    def is_point(self) -> bool:
        """Whether the variable is constant to rounding."""
        return self.high - self.low <= 1e-13 * max(1.0, abs(self.high))

    def nodes(self, count: int) -> Tensor:
        """Chebyshev nodes of the first kind on the interval, (count,)."""
        unit = torch.from_numpy(chebyshev.chebpts1(count))
        return self.low + (self.high - self.low) * (1 + unit) / 2

    def basis(self, x: Tensor, count: int) -> Tensor:
        """T_j(x), j < count, shape (count, *x.shape)."""
        if count == 1:
            return torch.ones_like(x)[None]
        unit = (2 * x - (self.low + self.high)) / (self.high - self.low)
        rows = [torch.ones_like(x), unit]
        for _ in range(count - 2):
            rows.append(2 * unit * rows[-1] - rows[-2])
        return torch.stack(rows[:count])


@dataclass(frozen=True)
class KernelTable:
    """Chebyshev coefficients of (NNGP, NTK), with their error at held-out pairs.

    Attributes:
        norms: range of log q.
        angles: range of θ.
        coefficients: shape (2, n_q, n_q, n_θ).
        error: largest difference from direct evaluation at held-out pairs, or the error of the latter.
    """

    norms: Range
    angles: Range
    coefficients: Tensor
    error: float

    def __call__(self, q1: Tensor, q2: Tensor, cosine: Tensor) -> tuple[Tensor, Tensor]:
        """(NNGP, NTK) of shape (N1, N2), from q of shapes (N1,), (N2,) and cosines of shape (N1, N2)."""
        n_q, n_theta = self.coefficients.shape[2:]
        coefficients = self.coefficients.to(cosine.device)
        first, second = (self.norms.basis(q.log(), n_q) for q in (q1, q2))
        # Contiguous in the pairs, for the recurrence in θ.
        by_pair = torch.einsum("ai,cabt->ctib", first, coefficients) @ second
        unit = self.angles.basis(torch.acos(cosine), min(2, n_theta))
        result = by_pair[:, 0].clone()
        before, now = unit[0], unit[-1]
        for k in range(1, n_theta):
            result.addcmul_(by_pair[:, k], now)
            before, now = now, 2 * unit[1] * now - before
        return result[0], result[1]

    def at_pairs(self, q1: Tensor, q2: Tensor, cosine: Tensor) -> Tensor:
        """(NNGP, NTK) of P pairs, shape (2, P)."""
        n_q, n_theta = self.coefficients.shape[2:]
        first, second = (self.norms.basis(q.log(), n_q) for q in (q1, q2))
        third = self.angles.basis(torch.acos(cosine), n_theta)
        return torch.einsum("cabt,ap,bp,tp->cp", self.coefficients.to(cosine.device), first, second, third)


def tabulate(
    kernel: PairKernel,
    norms: Range,
    angles: Range,
    held_out: tuple[Tensor, ...],
    tolerance: float,
    max_solves: int,
) -> KernelTable | None:
    """Table with a held-out error below the tolerance; None if that takes more than `max_solves` solves.

    Args:
        kernel: kernel of pairs, evaluated at the Chebyshev nodes with q ≤ q' and at the held-out pairs.
        norms: range of log q.
        angles: range of θ.
        held_out: q, q' and cosines of pairs from the data, each of shape (P,).
        tolerance: error bound for each kernel: absolute below one, relative above.
        max_solves: bound on the number of pairs solved.
    """
    n_q = 1 if norms.is_point else 5 + math.ceil(2 * (norms.high - norms.low))
    n_theta = 1 if angles.is_point else _FIRST_ANGLES
    direct = kernel.pairs(*held_out)
    expected = torch.stack([direct.nngp, direct.ntk])
    while (n_q * (n_q + 1) // 2) * n_theta <= max_solves:
        max_solves -= (n_q * (n_q + 1) // 2) * n_theta
        coefficients, solve_error, scale = _fit(kernel, norms, angles, n_q, n_theta, held_out[0].device)
        table = KernelTable(norms, angles, coefficients, 0.0)
        deviation = float(
            ((table.at_pairs(*held_out) - expected).abs() / expected.abs().clamp_min(1.0)).max()
        )
        error = max(_SAFETY * deviation, float(direct.error.max()), solve_error)
        if _SAFETY * deviation <= tolerance:
            return KernelTable(norms, angles, coefficients, error)
        n_q, n_theta = _grown(coefficients, n_q, n_theta, 0.1 * tolerance * scale)
    return None


def tabulate_diagonal(
    diagonal: Callable[[Tensor], Limits], q: Tensor, tolerance: float
) -> tuple[Tensor, Tensor, float]:
    """(NNGP, NTK, error) at x = x' for q of shape (P,), interpolated in log q if that is cheaper."""
    logs = q.log()
    norms = Range(float(logs.min()), float(logs.max()))
    count = 1 if norms.is_point else 8 + math.ceil(3 * (norms.high - norms.low))
    held_out = q[torch.linspace(0, len(q) - 1, 16).long().unique().to(q.device)]
    while 3 * (count + len(held_out)) < len(q):
        nodes = norms.nodes(count).exp().to(q.device)
        at_nodes, direct = diagonal(nodes), diagonal(held_out)
        coefficients = torch.stack([at_nodes.nngp, at_nodes.ntk]) @ _transform(count).T.to(q.device)
        expected = torch.stack([direct.nngp, direct.ntk])
        difference = coefficients @ norms.basis(held_out.log(), count) - expected
        deviation = float((difference.abs() / expected.abs().clamp_min(1.0)).max())
        if _SAFETY * deviation <= tolerance:
            nngp, ntk = coefficients @ norms.basis(logs, count)
            return nngp, ntk, max(_SAFETY * deviation, float(at_nodes.error.max()))
        count = math.ceil(_GROWTH * count)
    limits = diagonal(q)
    return limits.nngp, limits.ntk, float(limits.error.max())


def _fit(
    kernel: PairKernel, norms: Range, angles: Range, n_q: int, n_theta: int, device: torch.device
) -> tuple[Tensor, float, float]:
    """Coefficients (2, n_q, n_q, n_θ), the error of the solves, and the magnitude of the kernel."""
    q = norms.nodes(n_q).exp().to(device)
    cosine = angles.nodes(n_theta).cos().to(device)
    i, j = torch.triu_indices(n_q, n_q, device=device)
    limits = kernel.pairs(
        q[i].repeat_interleave(n_theta), q[j].repeat_interleave(n_theta), cosine.repeat(len(i))
    )
    solved = torch.stack([limits.nngp, limits.ntk]).reshape(2, len(i), n_theta)
    values = solved.new_empty(2, n_q, n_q, n_theta)
    values[:, i, j] = solved
    values[:, j, i] = solved
    in_q, in_theta = _transform(n_q).to(device), _transform(n_theta).to(device)
    coefficients = torch.einsum("ai,bj,tk,cijk->cabt", in_q, in_q, in_theta, values)
    return coefficients, float(limits.error.max()), max(1.0, float(values.abs().max()))


def _transform(count: int) -> Tensor:
    """Matrix (count, count) that maps values at the Chebyshev nodes to coefficients."""
    values = chebyshev.chebvander(chebyshev.chebpts1(count), count - 1)
    return torch.from_numpy(np.linalg.inv(values))


def _grown(coefficients: Tensor, n_q: int, n_theta: int, floor: float) -> tuple[int, int]:
    """Increased (n_q, n_θ): in variables with large last coefficients, or in all if none are large."""
    tail_q = float(coefficients[:, -2:].abs().amax()) if n_q > 1 else 0.0
    tail_theta = float(coefficients[..., -2:].abs().amax()) if n_theta > 1 else 0.0
    both = tail_q <= floor and tail_theta <= floor
    if n_q > 1 and (both or tail_q > floor):
        n_q = math.ceil(_GROWTH * n_q)
    if n_theta > 1 and (both or tail_theta > floor):
        n_theta = math.ceil(_GROWTH * n_theta)
    return n_q, n_theta
