"""Kernel matrices from kernels of pairs: solved block by block, or interpolated in a table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from rich.progress import Progress
from torch import Tensor

from ntkode.ntk.infinite_width.input_geometry import Block, InputGeometry
from ntkode.ntk.infinite_width.kernel_table import HELD_OUT, KernelTable, Range, tabulate, tabulate_diagonal
from ntkode.ntk.infinite_width.pair_kernel import PairKernel

FEW_PAIRS = 2000  # up to this number all pairs are solved


@dataclass(frozen=True)
class Symmetries:
    """Symmetries of φ, which its kernels inherit.

    Attributes:
        homogeneous: φ(rx) = rφ(x) for r > 0; kernels are √(qq') times those at q = q' = 1.
        odd: φ(−x) = −φ(x); the kernels of (x, −x) are minus those of (x, x).
    """

    homogeneous: bool
    odd: bool


class Assembly:
    """Computation of the kernel matrices for one set of inputs.

    Args:
        kernel: the kernel of pairs.
        geometry: norms and angles of the inputs.
        symmetries: symmetries of φ.
        tolerance: error bound for each kernel: absolute below one, relative above.
        pairs_per_block: bound on the number of pairs solved at once.
    """

    def __init__(
        self,
        kernel: PairKernel,
        geometry: InputGeometry,
        symmetries: Symmetries,
        tolerance: float,
        pairs_per_block: int,
    ) -> None:
        self._kernel = kernel
        self._geometry = geometry
        self._symmetries = symmetries
        self._q1 = torch.ones_like(geometry.q1) if symmetries.homogeneous else geometry.q1
        self._q2 = torch.ones_like(geometry.q2) if symmetries.homogeneous else geometry.q2
        self._tolerance = tolerance
        self._pairs_per_block = pairs_per_block

    def run(self, bar: Progress) -> tuple[Tensor, Tensor, float]:
        """NNGP and NTK for σ_v = 1, shape (N1, N2), and the largest estimated error of an entry."""
        geometry = self._geometry
        task = bar.add_task("infinite-width kernels", total=len(geometry.q1))
        *diagonal, error = self._diagonal()
        table = self._table()
        if table is None:
            self._kernel.prepare(torch.cat([self._q1, self._q2]))
        else:
            error = max(error, table.error)
        nngp = geometry.q1.new_empty(len(geometry.q1), len(geometry.q2))
        ntk = torch.empty_like(nngp)
        for block in geometry.blocks(self._pairs_per_block):
            known = self._known(block)
            *values, block_error = self._off_diagonal(block, known == 0, table)
            error = max(error, block_error)
            for matrix, value, scale in zip((nngp, ntk), values, diagonal, strict=True):
                whole = torch.where(known != 0, known * scale[block.first : block.last, None], value)
                self._store(matrix, block, self._scaled(block, whole))
            bar.update(task, completed=block.last)
        return nngp, ntk, error

    def _diagonal(self) -> tuple[Tensor, Tensor, float]:
        """NNGP and NTK of each row of x1 with itself, (N1,), and the largest error."""
        distinct, index = torch.unique(self._q1, return_inverse=True)
        nngp, ntk, error = tabulate_diagonal(self._kernel.diagonal, distinct, self._tolerance)
        return nngp[index], ntk[index], error

    def _off_diagonal(
        self, block: Block, wanted: Tensor, table: KernelTable | None
    ) -> tuple[Tensor, Tensor, float]:
        q1, q2 = self._q1[block.first : block.last], self._q2[block.left :]
        if table is not None:
            return *table(q1, q2, block.cosine), table.error
        if self._geometry.symmetric:
            wanted = wanted.triu(1)
        i, j = wanted.nonzero(as_tuple=True)
        nngp, ntk = torch.zeros_like(block.cosine), torch.zeros_like(block.cosine)
        if not len(i):
            return nngp, ntk, 0.0
        limits = self._kernel.pairs(q1[i], q2[j], block.cosine[i, j])
        nngp[i, j], ntk[i, j] = limits.nngp, limits.ntk
        return nngp, ntk, float(limits.error.max())

    def _known(self, block: Block) -> Tensor:
        """1 if x' = x up to rounding, −1 if x' = −x and φ is odd, otherwise 0; shape of the block."""
        q = self._q1[block.first : block.last, None]
        # The norms of equal rows of two sets may differ by rounding.
        alike = (q - self._q2[None, block.left :]).abs() <= 1e-15 * q
        known = (alike & (block.cosine == 1.0)).to(q.dtype)
        return known - (alike & (block.cosine == -1.0)).to(q.dtype) if self._symmetries.odd else known

    def _scaled(self, block: Block, value: Tensor) -> Tensor:
        if not self._symmetries.homogeneous:
            return value
        q1, q2 = self._geometry.q1[block.first : block.last], self._geometry.q2[block.left :]
        return value * q1.sqrt()[:, None] * q2.sqrt()

    def _store(self, matrix: Tensor, block: Block, value: Tensor) -> None:
        rows = slice(block.first, block.last)
        if not self._geometry.symmetric:
            matrix[rows] = value
            return
        # In the square on the diagonal only the upper half was solved.
        square = value[:, : block.last - block.first].triu()
        matrix[rows, block.left :] = value
        matrix[rows, rows] = square + square.triu(1).T
        matrix[block.last :, rows] = value[:, block.last - block.first :].T

    def _table(self) -> KernelTable | None:
        """Table of the kernels of all pairs x ≠ x'; None if it is not cheaper or exceeds the tolerance."""
        pairs = len(self._q1) * len(self._q2) // (2 if self._geometry.symmetric else 1)
        survey = self._survey() if pairs > FEW_PAIRS else None
        if survey is None:
            return None
        logs = torch.cat([self._q1, self._q2]).log()
        norms = Range(float(logs.min()), float(logs.max()))
        return tabulate(self._kernel, norms, *survey, self._tolerance, max_solves=pairs // 2)

    def _survey(self) -> tuple[Range, tuple[Tensor, Tensor, Tensor]] | None:
        """Range of the angles of distinct inputs, and held-out pairs: extreme and random ones."""
        generator = torch.Generator().manual_seed(0)
        samples = []
        for block in self._geometry.blocks(self._pairs_per_block):
            rows, columns = (self._known(block) == 0).nonzero(as_tuple=True)
            if not len(rows):
                continue
            cosine = block.cosine[rows, columns]
            drawn = torch.randint(len(rows), (4,), generator=generator).to(cosine.device)
            pick = torch.cat([drawn, cosine.argmin()[None], cosine.argmax()[None]])
            i, j = rows[pick] + block.first, columns[pick] + block.left
            samples.append(torch.stack([self._q1[i], self._q2[j], cosine[pick]]))
        if not samples:
            return None
        q1, q2, cosine = torch.cat(samples, dim=1)
        angles = Range(float(cosine.max().acos()), float(cosine.min().acos()))
        random = torch.randperm(len(cosine), generator=generator)[:HELD_OUT].to(cosine.device)
        pick = torch.cat([random, cosine.argmin()[None], cosine.argmax()[None]])
        return angles, (q1[pick], q2[pick], cosine[pick])
