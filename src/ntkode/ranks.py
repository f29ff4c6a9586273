"""What the processes that train one model together have in common; all of it is trivial in a single one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch.distributed as dist
from torch import Tensor

R = TypeVar("R")


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's place among them; 0 measures, and writes the record."""
    return dist.get_rank() if dist.is_initialized() else 0


def total(value: Tensor) -> float:
    """The sum of a scalar over all ranks."""
    if ranks() > 1:
        value = value.detach().double()
        dist.all_reduce(value)
    return float(value)


def from_first(compute: Callable[[], R]) -> R:
    """What rank 0 computes, on all ranks, which call this together; it is pickled."""
    if ranks() == 1:
        return compute()
    held = [compute() if rank() == 0 else None]
    dist.broadcast_object_list(held, 0)
    return cast(R, held[0])


def part(samples: int, position: int, parts: int) -> slice:
    """The rows of one of `parts` consecutive parts of `samples` rows."""
    return slice(samples * position // parts, samples * (position + 1) // parts)
