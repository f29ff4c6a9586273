"""Functions for the processes (ranks) that train one model together; with one process all are trivial."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch.distributed as dist
from torch import Tensor

R = TypeVar("R")


def ranks() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The index of this process, from 0; rank 0 measures and writes the record."""
    return dist.get_rank() if dist.is_initialized() else 0


def act_as_first() -> None:
    """Make Lightning treat this process as rank 0, whatever rank the environment states.

    When imported, Lightning takes the rank from the environment (RANK, LOCAL_RANK, SLURM_PROCID, …); on ranks
    above 0 its loggers do nothing. The variables may be those of a launcher in whose job the command runs. A
    distributed strategy sets its ranks later.
    """
    from lightning.pytorch.utilities import rank_zero_only  # here: its import takes seconds

    vars(rank_zero_only)["rank"] = 0


def total(value: Tensor) -> float:
    """The sum of a scalar tensor over all ranks, in float64; all ranks must call this."""
    if ranks() > 1:
        value = value.detach().double()
        dist.all_reduce(value)
    return float(value)


def from_first(compute: Callable[[], R]) -> R:
    """The result of `compute()` on rank 0, pickled and sent to all ranks; all ranks must call this."""
    if ranks() == 1:
        return compute()
    results = [compute() if rank() == 0 else None]
    dist.broadcast_object_list(results, 0)
    return cast(R, results[0])


def part(samples: int, position: int, parts: int) -> slice:
    """The slice of rows in part number `position` if `samples` rows are split into `parts` parts."""
    return slice(samples * position // parts, samples * (position + 1) // parts)
