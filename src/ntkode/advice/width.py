"""How wide a network must be to lie near its infinite-width limit, measured on the data in question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkode.models import ODEModel
from ntkode.ntk import empirical_ntk, relative_distance

# Samples that kernels are compared on, and the width at which c is measured: 0.5 s a kernel at most.
PROBE_ROWS = 64
PROBE_WIDTH = 128
INITIALISATIONS = 3
# The largest distance over the least, from which the law is called thin: three initialisations that differ
# so much say little of the mean.
WIDE_SPREAD = 3.0


@dataclass(frozen=True)
class KernelDistance:
    """‖Θ_n − Θ_∞⊗1‖_F/‖Θ_∞⊗1‖_F at initialisation, Θ_n the kernel of all outputs.

    It is this kernel that training goes by. In the limit its outputs do not mix. At width n they share U and
    W, and the largest eigenvalue is the larger for it, by up to (1 + √(k/n))² (the bound of Marchenko &
    Pastur 1967 for the Gram matrix of v): so that the distance, and the width, grow with the number of
    outputs k.

    Attributes:
        width: n.
        distances: one an initialisation, at least one.
    """

    width: int
    distances: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The root of the mean square, whose square is what falls as 1/n."""
        return math.sqrt(sum(d * d for d in self.distances) / len(self.distances))

    def __str__(self) -> str:
        low, high = min(self.distances), max(self.distances)
        return f"n = {self.width}: {self.mean:.3f} ({low:.3f} to {high:.3f})"


def kernel_distance(models: Sequence[ODEModel], width: int, x: Tensor, limit: Tensor) -> KernelDistance:
    """Compare the kernels of models of width `width` with their limit.

    Args:
        models: one an initialisation.
        width: n.
        x: inputs, (N, d).
        limit: Θ_∞ on them, (N, N), float64.
    """
    kernels = [empirical_ntk(model, x, outputs="full").to(limit) for model in models]
    outputs = len(kernels[0]) // len(limit)
    target = torch.kron(limit, torch.eye(outputs, dtype=limit.dtype))
    return KernelDistance(width, tuple(relative_distance(kernel, target) for kernel in kernels))


@dataclass(frozen=True)
class WidthNeed:
    """The width that the law E‖Θ_n − Θ_∞⊗1‖²/‖Θ_∞⊗1‖² = c²/n asks for.

    Attributes:
        measured: the distance at one width, which gives c.
        distance: the distance to be kept.
    """

    measured: KernelDistance
    distance: float

    @property
    def constant(self) -> float:
        """c."""
        return self.measured.mean * math.sqrt(self.measured.width)

    @property
    def width(self) -> int:
        """The least n with c/√n ≤ distance."""
        return math.ceil((self.constant / self.distance) ** 2 * (1 - 1e-12))  # 225.00…03 is 225

    def at(self, width: int) -> float:
        """The distance to expect of a width."""
        return self.constant / math.sqrt(width)

    @property
    def thin(self) -> str:
        """Why the law rests on little; empty where it does not."""
        low, high = min(self.measured.distances), max(self.measured.distances)
        if high > WIDE_SPREAD * low:
            return f"initialisations differ: {low:.2f} to {high:.2f} at n = {self.measured.width}"
        return ""
