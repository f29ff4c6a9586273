"""The schedule of mini-batches, and loading each batch with one operation per tensor."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ntkode.data.sources import random_generator
from ntkode.ranks import part

Batch = tuple[Tensor, Tensor, Tensor]


class BatchSchedule(Sampler[slice | Tensor]):
    """The rows of every training step, as a function of (n, batch_size, steps, seed) alone.

    A full batch holds all rows in order, at every step. Mini-batches are consecutive parts of one random
    permutation per pass, all of the same size: if `batch_size` does not divide n, the last n mod batch_size
    rows of the permutation are skipped in that pass, because the loss is a sum over the batch.

    Args:
        n: number of samples.
        steps: number of batches of the whole training.
        batch_size: samples per batch, at most n; None: all.
        seed: determines the permutations.
        start: step at which iteration begins, for a resumed run. The length stays `steps`, because Lightning
            counts a resumed epoch in full.
        rank: index of the part of every step's rows that is iterated over, one of `ranks` equal parts.
        ranks: processes that share each step's rows.
    """

    def __init__(
        self,
        n: int,
        *,
        steps: int,
        batch_size: int | None = None,
        seed: int = 0,
        start: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.n = n
        self.steps = steps
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self._part = part(batch_size or n, rank, ranks)

    def rows(self, step: int) -> slice | Tensor:
        """Rows of one step: indices (B,), int64; for a full batch a slice, so that the batch is a view."""
        if self.batch_size is None:
            return self._part
        number, position = divmod(step, self.n // self.batch_size)
        first = position * self.batch_size
        return _permutation(self.n, self.seed, number)[first : first + self.batch_size][self._part]

    def __iter__(self) -> Iterator[slice | Tensor]:
        return (self.rows(step) for step in range(self.start, self.steps))

    def __len__(self) -> int:
        return self.steps


@lru_cache(maxsize=2)
def _permutation(n: int, seed: int, number: int) -> Tensor:
    return torch.from_numpy(random_generator(seed, f"pass {number}").permutation(n))


class TensorRows(Dataset[Batch]):
    """Samples (index, x, y), one row or many rows per access."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.tensors = (torch.arange(len(x)), x, y)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, row: int) -> Batch:
        index, x, y = self.tensors
        return index[row], x[row], y[row]

    def __getitems__(self, rows: slice | Tensor) -> Batch:
        """All rows of a batch, with one operation per tensor; a slice gives views."""
        index, x, y = self.tensors
        return index[rows], x[rows], y[rows]


def loader(x: Tensor, y: Tensor, schedule: BatchSchedule) -> DataLoader[Batch]:
    """Batches (indices (B,), x (B, d), y (B, k)) in the order of the schedule."""
    return DataLoader(
        TensorRows(x, y),
        batch_sampler=schedule,  # type: ignore[arg-type]  # the type hint excludes slices
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # else every pass draws from the global random state
    )


def _as_it_is(batch: Any) -> Batch:
    return batch
