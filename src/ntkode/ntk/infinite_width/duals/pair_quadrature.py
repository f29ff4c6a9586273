"""Φ and Φ' of any φ by two-dimensional quadrature that resolves its breakpoints: slow, accurate at every ρ.

With ρ = cos θ and independent standard normals y, z,

    a = √va (z cos θ/2 + y sin θ/2),    b = √vb (z cos θ/2 − y sin θ/2).

At fixed y the integrand in z is smooth except where a or b is a breakpoint of φ; its integral is smooth in y
except where two of these points coincide. Gauss–Legendre panels between these points have smooth integrands
for every ρ, however close to ±1.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ntkode.activations import Activation
from ntkode.ntk.infinite_width.duals.closed_form import Pair, correlation

REACH = 9.0  # range of the standard normals; the mass beyond is 2e-19
_POINTS_A_PANEL = 16
_POINTS_AT_ONCE = 2**20


class PairQuadrature:
    """The dual of an activation by quadrature; about two milliseconds per value.

    Accurate to 1e-11 for φ that is as smooth between its breakpoints as tanh(4x).
    """

    def __init__(self, activation: Activation) -> None:
        self._activation = activation
        self._breakpoints = [location for location, _ in activation.profile.breakpoints]
        self._outer = torch.linspace(-REACH, REACH, 13, dtype=torch.float64)
        self._inner = torch.linspace(-REACH, REACH, 19, dtype=torch.float64)

    def __call__(self, va: Tensor, vb: Tensor, c: Tensor) -> Pair:
        """(Φ, Φ') of the broadcast shape."""
        va, vb, c = torch.broadcast_tensors(va, vb, c)
        rho = correlation(va, vb, c).flatten()
        roots = torch.stack([va.sqrt().flatten(), vb.sqrt().flatten()])
        count = len(self._breakpoints)
        points = (len(self._outer) + count**2) * (len(self._inner) + 2 * count) * _POINTS_A_PANEL**2
        size = max(1, _POINTS_AT_ONCE // points)
        parts = [
            self._moments(r, cosine)
            for r, cosine in zip(roots.split(size, dim=1), rho.split(size), strict=True)
        ]
        value, derivative = (torch.cat(part).reshape(c.shape) for part in zip(*parts, strict=True))
        return value, derivative

    def _moments(self, roots: Tensor, rho: Tensor) -> Pair:
        cosine, sine = ((1 + rho) / 2).sqrt(), ((1 - rho) / 2).sqrt()
        places = roots.new_tensor(self._breakpoints)[:, None]
        places_a, places_b = places / roots[0], places / roots[1]  # (B, E)
        meetings = (places_a[:, None] - places_b[None]).flatten(0, 1) / (2 * sine)
        y, weights_y = _panels(self._outer, meetings.T)  # (E, Y)
        shift = y * sine[:, None]
        breaks = torch.cat(
            [places_a.T[:, None] - shift[..., None], places_b.T[:, None] + shift[..., None]], -1
        )
        z, weights_z = _panels(self._inner, breaks / cosine[:, None, None])  # (E, Y, Z)
        common = z * cosine[:, None, None]
        a = roots[0][:, None, None] * (common + shift[..., None])
        b = roots[1][:, None, None] * (common - shift[..., None])
        weights = weights_y[..., None] * weights_z
        phi, slope = self._activation, self._activation.derivative
        value = (weights * phi(a) * phi(b)).sum((1, 2))
        return value, (weights * slope(a) * slope(b)).sum((1, 2))


def _panels(base: Tensor, breaks: Tensor) -> Pair:
    """Nodes and weights (times the normal density) between `base` and `breaks`, along the last axis."""
    # Breaks at infinity, and 0/0 for a missing one, become empty panels at the end.
    breaks = breaks.nan_to_num(nan=REACH).clamp(-REACH, REACH)
    edges = torch.cat([base.to(breaks).expand(*breaks.shape[:-1], -1), breaks], -1).sort(-1).values
    unit, weights = (torch.from_numpy(a).to(breaks) for a in np.polynomial.legendre.leggauss(_POINTS_A_PANEL))
    half = torch.diff(edges)[..., None] / 2
    nodes = edges[..., :-1, None] + half * (1 + unit)
    density = torch.exp(-nodes.square() / 2) / math.sqrt(2 * math.pi)
    return nodes.flatten(-2), (half * weights * density).flatten(-2)
