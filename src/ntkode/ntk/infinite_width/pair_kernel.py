"""Base class of infinite-width kernels, as functions of the norms and cosines of pairs of inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Limits:
    """NNGP and NTK for σ_v = 1, and their estimated error; each of shape (P,), float64."""

    nngp: Tensor
    ntk: Tensor
    error: Tensor


class PairKernel(ABC):
    """NNGP and NTK of pairs of inputs with given q = K0(x, x), q' and cosine.

    The kernel of a pair needs the variances K(t, t) of both inputs, their *curves*, which are solved once for
    each distinct q.
    """

    def __init__(self) -> None:
        self._known_q: Tensor | None = None
        self._known_curves: Tensor | None = None

    @abstractmethod
    def solve_diagonal(self, q: Tensor) -> tuple[Limits, Tensor]:
        """Kernels of x = x' for q of shape (P,), and their curves, shape (P, …)."""

    @abstractmethod
    def solve_pairs(self, curves1: Tensor, curves2: Tensor, cosine: Tensor) -> Limits:
        """Kernels of P pairs, from their inputs' curves and cosines of shape (P,)."""

    def diagonal(self, q: Tensor) -> Limits:
        """Kernels of x = x', for q of shape (P,)."""
        return self.solve_diagonal(q)[0]

    def prepare(self, q: Tensor) -> None:
        """Solve and store the curves of these q, for `pairs`."""
        distinct = torch.unique(q)
        self._known_q, self._known_curves = distinct, self.solve_diagonal(distinct)[1]

    def pairs(self, q1: Tensor, q2: Tensor, cosine: Tensor) -> Limits:
        """Kernels of pairs x ≠ x', for q, q' and cosines of shape (P,)."""
        both = torch.cat([q1, q2])
        if self._known_q is None or not bool(torch.isin(both, self._known_q).all()):
            self.prepare(both)
        assert self._known_q is not None
        assert self._known_curves is not None
        first, second = torch.searchsorted(self._known_q, both).split(len(q1))
        return self.solve_pairs(self._known_curves[first], self._known_curves[second], cosine)


def in_chunks(
    solve: Callable[..., tuple[Tensor, ...]], arguments: Sequence[Tensor], numbers: int
) -> tuple[Tensor, ...]:
    """`solve` on chunks of the first axis, so that arrays of `numbers` entries per pair stay small."""
    # A core's caches hold an array of 1 MB and its temporaries; an accelerator needs larger arrays.
    entries = 2**17 if arguments[0].device.type == "cpu" else 2**23
    size = max(1, entries // numbers)
    parts = [solve(*chunk) for chunk in zip(*(a.split(size) for a in arguments), strict=True)]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))
