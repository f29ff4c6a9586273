"""One kernel by the ranks of a torch.distributed group, each with a share of the samples."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ntkode.ntk.contraction import Factor, Gradients, OuterProducts
from ntkode.ntk.engine import Engine, Options
from ntkode.ntk.factors import CompressionFailed, RecordedFactors

Factors = dict[str, Factor]


@torch.enable_grad()
def distributed_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    group: dist.ProcessGroup | None = None,
    **options: Any,
) -> Tensor:
    """`empirical_ntk`, the samples split over the ranks of a process group.

    Every rank differentiates its share, sends the derivatives round in the compressed form in which they
    are contracted, and computes its rows; of a symmetric kernel each block once. All ranks call it with
    equal arguments, each on its own device, and all get the kernel.

    Args:
        model: see `empirical_ntk`; the same parameters on every rank.
        x1: inputs of shape (N1, …).
        x2: inputs of shape (N2, …).
        group: the ranks; all of them unless given.
        **options: as `empirical_ntk` takes them, but for `blocks`; `max_bytes` bounds the recording alone:
            a rank holds the derivatives of its own share and of one other.

    Returns:
        The kernel, equal to one process's up to the order of sums.

    Raises:
        ValueError: fewer samples than ranks, `blocks`, or as `empirical_ntk`.
        RuntimeError: another rank failed; it is named.
    """
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    if min(len(x1), len(x1 if x2 is None else x2)) < ranks:
        raise ValueError(f"{len(x1)} samples are fewer than the group's {ranks} ranks")
    if options.get("blocks"):
        raise ValueError("blocks=True is for one process: take empirical_ntk")
    engine = Engine(model, x1, x2, Options(**options))
    if isinstance(engine.factors, RecordedFactors):
        engine.factors.choices = _broadcast_object(engine.factors.choices, 0, group)
    rows, columns = _shares(len(engine.x1), ranks), _shares(len(engine.columns), ranks)
    mine, sent = _own(engine, rows[rank], columns[rank], group)
    kernels = engine.zeros()
    for owner in range(ranks):
        theirs = _broadcast(sent if owner == rank else None, owner, group, engine.x1.device)
        if engine.x2 is not None or _computes(rank, owner):
            engine.add(kernels, mine, mine if theirs is sent is mine else theirs, rows[rank], columns[owner])
    kernel = kernels[""]
    dist.all_reduce(kernel, group=group)  # every entry comes from one rank
    return engine.arranged(kernel)


def _shares(samples: int, ranks: int) -> list[slice]:
    bounds = [samples * j // ranks for j in range(ranks + 1)]
    return [slice(start, end) for start, end in pairwise(bounds)]


def _computes(rank: int, other: int) -> bool:
    """Whether `rank` computes the block with `other`'s samples: of the two one does, and evenly so."""
    if rank == other:
        return True
    return (rank < other) == ((rank + other) % 2 == 0)


def _own(
    engine: Engine, rows: slice, columns: slice, group: dist.ProcessGroup | None
) -> tuple[Factors, Factors]:
    """Derivatives of this rank's rows and columns; what fails on one rank is raised, or mended, on all."""
    failure: Exception | None = None
    try:
        mine = engine.factors(engine.x1[rows])
        sent = mine if engine.x2 is None else engine.factors(engine.x2[columns])
    except Exception as error:  # the others wait for this rank's word
        failure = error
    told = [None if failure is None else (type(failure).__name__, str(failure))]
    failures: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(failures, told[0], group=group)
    found = [(rank, f) for rank, f in enumerate(failures) if f is not None]
    if not found:
        return mine, sent
    if all(name == CompressionFailed.__name__ for _, (name, _) in found):
        engine.stop_compressing(CompressionFailed(found[0][1][1]))
        return _own(engine, rows, columns, group)
    if failure is not None:
        raise failure
    rank, (name, message) = found[0]
    raise RuntimeError(f"rank {rank} failed: {name}: {message}")


def _broadcast(
    factors: Factors | None, owner: int, group: dist.ProcessGroup | None, device: torch.device
) -> Factors:
    """The owner's derivatives, on every rank."""
    parts = {name: _tensors(f) for name, f in factors.items()} if factors is not None else {}
    shapes = {name: [(t.shape, t.dtype) for t in tensors] for name, tensors in parts.items()}
    shapes = _broadcast_object(shapes, owner, group)
    received: Factors = {}
    for name, of_tensors in shapes.items():
        tensors = parts.get(name) or [torch.empty(s, dtype=d, device=device) for s, d in of_tensors]
        for tensor in tensors:
            dist.broadcast(tensor, _global(owner, group), group=group)
        received[name] = OuterProducts(*tensors) if len(tensors) == 2 else Gradients(*tensors)
    return received if factors is None else factors


def _tensors(factor: Factor) -> list[Tensor]:
    if isinstance(factor, OuterProducts):
        return [factor.inputs.contiguous(), factor.cotangents.contiguous()]
    return [factor.values.contiguous()]


def _broadcast_object(value: Any, owner: int, group: dist.ProcessGroup | None) -> Any:
    holder = [value]
    backend = dist.get_backend(group)
    device = torch.device("cuda", torch.cuda.current_device()) if backend == "nccl" else None
    dist.broadcast_object_list(holder, _global(owner, group), group=group, device=device)
    return holder[0]


def _global(rank: int, group: dist.ProcessGroup | None) -> int:
    return rank if group is None else dist.get_global_rank(group, rank)
