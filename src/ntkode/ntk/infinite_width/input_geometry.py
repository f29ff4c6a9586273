"""Norms K0(x, x), K0(x', x') and cosines of pairs of inputs, which determine infinite-width kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

# Cosines closer to ±1 than this are recomputed from differences, which are more accurate there.
_NEARLY_PARALLEL = 1e-6
_PAIRS_AT_ONCE = 2**14


@dataclass(frozen=True)
class Block:
    """Pairs of the rows first:last of x1 with the columns left: of x2.

    Attributes:
        first: first row.
        last: row after the last one.
        left: first column: 0, or `first` for a symmetric kernel.
        cosine: cosines of the pairs, shape (last − first, N2 − left).
    """

    first: int
    last: int
    left: int
    cosine: Tensor


class InputGeometry:
    """Norms and angles of two sets of inputs.

    Args:
        x1: inputs of shape (N1, d).
        x2: inputs of shape (N2, d); None: x1.
        sigma_u: σ_u > 0.

    Attributes:
        q1: σ_u²|x|²/d, shape (N1,), float64.
        q2: the same for x2, shape (N2,).
        symmetric: whether x2 is x1.

    Raises:
        ValueError: the inputs are not (N, d), not finite, of unequal d, or have a zero row.
    """

    def __init__(self, x1: Tensor, x2: Tensor | None, sigma_u: float) -> None:
        self.symmetric = x2 is None
        first = _checked("x1", x1)
        second = first if x2 is None else _checked("x2", x2).to(first.device)
        if first.shape[1] != second.shape[1]:
            raise ValueError(
                f"x1 has {first.shape[1]} features and x2 has {second.shape[1]}: they must be equal"
            )
        self.q1, self._unit1 = _polar(first, sigma_u)
        self.q2, self._unit2 = (self.q1, self._unit1) if x2 is None else _polar(second, sigma_u)

    def blocks(self, max_pairs: int) -> Iterator[Block]:
        """Blocks of all pairs, by rows; if x2 is x1, of about half of them, including the upper triangle."""
        rows = max(1, max_pairs // len(self.q2))
        for first in range(0, len(self.q1), rows):
            last = min(first + rows, len(self.q1))
            left = first if self.symmetric else 0
            cosine = self._unit1[first:last] @ self._unit2[left:].T
            self._refine(cosine, first, left)
            yield Block(first, last, left, cosine)

    def _refine(self, cosine: Tensor, first: int, left: int) -> None:
        """Recompute cosines near ±1 from 1 ∓ cos = |u ∓ u'|²/2, which is exactly 0 for parallel inputs."""
        rows, columns = (cosine.abs() > 1 - _NEARLY_PARALLEL).nonzero(as_tuple=True)
        for i, j in zip(rows.split(_PAIRS_AT_ONCE), columns.split(_PAIRS_AT_ONCE), strict=True):
            sign = cosine[i, j].sign()
            gap = self._unit1[first + i] - sign[:, None] * self._unit2[left + j]
            cosine[i, j] = sign * (1 - gap.square().sum(1) / 2)


def _checked(name: str, x: Tensor) -> Tensor:
    if x.ndim != 2 or x.numel() == 0:
        raise ValueError(f"{name} of shape {tuple(x.shape)} must be (N, d), N ≥ 1 inputs of d ≥ 1 features")
    x = x.detach().double()
    bad = ~x.isfinite().all(1)
    if bool(bad.any()):
        raise ValueError(f"{name} is not finite in row {int(bad.nonzero()[0])}: a kernel needs finite inputs")
    zero = (x == 0).all(1)
    if bool(zero.any()):
        raise ValueError(
            f"{name} is zero in row {int(zero.nonzero()[0])}: a zero input has no kernel; "
            "remove it, or add a constant feature"
        )
    return x


def _polar(x: Tensor, sigma_u: float) -> tuple[Tensor, Tensor]:
    norm = x.norm(dim=1)
    return (sigma_u * norm).square() / x.shape[1], x / norm[:, None]
