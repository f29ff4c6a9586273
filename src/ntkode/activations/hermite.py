"""Expectations under a standard normal Z: the Hermite coefficients of φ(Z)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


def gaussian_quadrature(function: Function, breakpoints: Sequence[float] = ()) -> tuple[Tensor, Tensor]:
    """Nodes z and weights w, (M,) float64, with E[g(Z)] ≈ Σ w g(z) for g as smooth as φ off the breakpoints.

    Gauss–Legendre with 20 points on panels of [−12, 12]; breakpoints are panel edges. A panel is halved until
    the integrals of φ and φ² over it change by less than 1e-15 of the total.
    """
    inside = [b for b in breakpoints if -12.0 < b < 12.0]
    edges = torch.tensor(sorted({*np.linspace(-12.0, 12.0, 49).tolist(), *inside}), dtype=torch.float64)
    left, right = edges[:-1], edges[1:]
    whole = _panel_moments(function, left, right)
    tolerance = 1e-15 * whole.abs().sum(dim=0)
    settled = []
    for _ in range(40):
        middle = (left + right) / 2
        first, second = _panel_moments(function, left, middle), _panel_moments(function, middle, right)
        rough = ((first + second - whole).abs() > tolerance).any(dim=1)
        settled.append(torch.stack([left[~rough], right[~rough]]))
        left, right = torch.cat([left[rough], middle[rough]]), torch.cat([middle[rough], right[rough]])
        whole = torch.cat([first[rough], second[rough]])
        if not left.numel():
            break
    left, right = torch.cat([*settled, torch.stack([left, right])], dim=1)
    nodes, weights = _panel_rule(left, right)
    return nodes.flatten(), weights.flatten()


def hermite_functions(z: Tensor, count: int) -> Tensor:
    """Normalised probabilists' Hermite polynomials He_k(z)/√k!, k < count; shape (count, *z.shape)."""
    rows = [torch.ones_like(z), z]
    for k in range(1, count - 1):
        rows.append((z * rows[k] - k**0.5 * rows[k - 1]) / (k + 1) ** 0.5)
    return torch.stack(rows[:count])


def _panel_rule(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Gauss–Legendre nodes, and weights times the normal density; each of shape (panels, 20)."""
    unit_nodes, unit_weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(20))
    half = (right - left)[:, None] / 2
    nodes = (left + right)[:, None] / 2 + half * unit_nodes
    density = torch.exp(-nodes.square() / 2) / (2 * torch.pi) ** 0.5
    return nodes, half * unit_weights * density


def _panel_moments(function: Function, left: Tensor, right: Tensor) -> Tensor:
    """Integrals of φ and φ² times the density over each panel, shape (panels, 2)."""
    nodes, weights = _panel_rule(left, right)
    values = function(nodes).detach()
    return torch.stack([(weights * values).sum(dim=1), (weights * values.square()).sum(dim=1)], dim=1)
