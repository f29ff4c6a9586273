"""The width at which a network's kernel is close to its infinite-width limit, measured on the user's data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkode.models import ODEModel
from ntkode.ntk import empirical_ntk, relative_distance

# Number of samples for comparing kernels, and the width at which c is measured: at most 0.5 s per kernel.
PROBE_ROWS = 64
PROBE_WIDTH = 128
INITIALISATIONS = 3
# Ratio of largest to smallest distance above which the evidence is flagged as weak: the mean of three
# initialisations is then uncertain.
WIDE_SPREAD = 3.0


@dataclass(frozen=True)
class KernelDistance:
    """‖Θ_n − Θ_∞⊗1‖_F/‖Θ_∞⊗1‖_F at initialisation, where Θ_n is the kernel of all outputs.

    This kernel governs training. In the limit the outputs do not interact. At width n they share U and W,
    which increases the largest eigenvalue by a factor of up to (1 + √(k/n))² (the bound of Marchenko & Pastur
    1967 for the Gram matrix of v). The distance, and therefore the width, grows with the number of outputs k.

    Attributes:
        width: n.
        distances: one per initialisation, at least one.
    """

    width: int
    distances: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The root mean square of the distances; its square falls as 1/n."""
        return math.sqrt(sum(d * d for d in self.distances) / len(self.distances))

    def __str__(self) -> str:
        low, high = min(self.distances), max(self.distances)
        return f"n = {self.width}: {self.mean:.3f} ({low:.3f} to {high:.3f})"


def kernel_distance(models: Sequence[ODEModel], width: int, x: Tensor, limit: Tensor) -> KernelDistance:
    """Compare the kernels of models of width `width` with their limit.

    Args:
        models: one model per initialisation.
        width: n.
        x: inputs, (N, d).
        limit: Θ_∞ on `x`, (N, N), float64.
    """
    kernels = [empirical_ntk(model, x, outputs="full").to(limit) for model in models]
    outputs = len(kernels[0]) // len(limit)
    target = torch.kron(limit, torch.eye(outputs, dtype=limit.dtype))
    return KernelDistance(width, tuple(relative_distance(kernel, target) for kernel in kernels))


@dataclass(frozen=True)
class WidthNeed:
    """The width given by the law E‖Θ_n − Θ_∞⊗1‖²/‖Θ_∞⊗1‖² = c²/n.

    Attributes:
        measured: the distance measured at one width, which gives c.
        distance: the upper bound on the distance.
    """

    measured: KernelDistance
    distance: float

    @property
    def constant(self) -> float:
        """The constant c of the law: measured distance times √n."""
        return self.measured.mean * math.sqrt(self.measured.width)

    @property
    def width(self) -> int:
        """The least n with c/√n ≤ distance."""
        return math.ceil((self.constant / self.distance) ** 2 * (1 - 1e-12))  # 225.00…03 is 225

    def at(self, width: int) -> float:
        """The expected distance c/√n at width n = `width`."""
        return self.constant / math.sqrt(width)

    @property
    def caveat(self) -> str:
        """Why the law is weak evidence; empty if it is not."""
        low, high = min(self.measured.distances), max(self.measured.distances)
        if high > WIDE_SPREAD * low:
            return f"initialisations differ: {low:.2f} to {high:.2f} at n = {self.measured.width}"
        return ""
