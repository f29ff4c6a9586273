"""Piecewise linear activations, as a sum of a linear function and kinks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from ntkode.activations.registry import Activation
from ntkode.activations.smoothness import grid


@dataclass(frozen=True)
class PiecewiseLinear:
    """φ(x) = offset + slope·x + Σ_i Δ_i max(x − b_i, 0), continuous.

    Attributes:
        offset: value at x = 0 of φ's first (leftmost) piece, extended.
        slope: slope of the first piece.
        kinks: (b_i, Δ_i), location and jump of the slope, in ascending order of b_i.
    """

    offset: float
    slope: float
    kinks: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, activation: Activation) -> Self | None:
        """The decomposition of φ, or None if φ has no kink, or is not piecewise linear on [−12, 12]."""
        places = [float(b) for b, order in activation.profile.breakpoints if order == 1]
        if not places or len(places) != len(activation.profile.breakpoints):
            return None
        edges = torch.tensor([-13.0, *places, 13.0], dtype=torch.float64)
        values = activation(edges).detach()
        slopes = (torch.diff(values) / torch.diff(edges)).tolist()
        jumps = (after - before for before, after in pairwise(slopes))
        offset = float(values[0]) + 13.0 * slopes[0]
        pieces = cls(offset, slopes[0], tuple(zip(places, jumps, strict=True)))
        x = torch.cat([grid(), 100 * grid()])
        # Breakpoints are known to 1e-9.
        same = torch.allclose(pieces.function(x), activation(x).detach(), rtol=1e-9, atol=1e-8)
        return pieces if same else None

    def function(self, x: Tensor) -> Tensor:
        """φ(x), elementwise, of the shape and dtype of x."""
        return self.offset + self.slope * x + sum(d * torch.relu(x - b) for b, d in self.kinks)

    def mean_slope(self, start: Tensor, end: Tensor) -> Tensor:
        """Mean of φ' along the straight line from `start` to `end`, elementwise.

        It is slope + Σ_i Δ_i τ_i, with τ_i the share of the line above b_i: exactly 0 or 1 if b_i is not
        crossed.
        """
        mean = torch.full_like(end, self.slope)
        for place, jump in self.kinks:
            below, above = start - place, end - place
            still = above == below
            share = (torch.relu(above) - torch.relu(below)) / torch.where(still, 1.0, above - below)
            mean = mean + jump * torch.where(still, (above > 0).to(share.dtype), share)
        return mean

    def mean_value(self, start: Tensor, end: Tensor) -> Tensor:
        """Mean of φ along the straight line from `start` to `end`, elementwise.

        On a line that crosses b_i, from b_i + q < b_i to b_i + p > b_i, max(x − b_i, 0) has mean p²/(2(p −
        q)).
        """
        middle = (start + end) / 2
        mean = self.offset + self.slope * middle
        for place, jump in self.kinks:
            above, below = torch.maximum(start, end) - place, torch.minimum(start, end) - place
            crossed = (above > 0) & (below < 0)
            triangle = above.square() / torch.where(crossed, 2 * (above - below), 1.0)
            mean = mean + jump * torch.where(crossed, triangle, torch.relu(middle - place))
        return mean

    def crosses(self, start: Tensor, end: Tensor) -> Tensor:
        """Whether a kink lies between `start` and `end`, elementwise; bool, of their shape."""
        crossed = torch.zeros_like(start, dtype=torch.bool)
        for place, _ in self.kinks:
            crossed |= (start > place) != (end > place)
        return crossed
