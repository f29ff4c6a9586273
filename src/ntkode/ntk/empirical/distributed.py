"""One kernel computed by the ranks of a torch.distributed group, each with a share of the samples."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ntkode.ntk.empirical.contraction import Factor, Gradients, OuterProducts
from ntkode.ntk.empirical.engine import Engine, Options
from ntkode.ntk.empirical.factors import CompressionFailed, RecordedFactors
from ntkode.ntk.empirical.float32 import full_float32
from ntkode.ntk.empirical.kernel import MeasuredKernel

Factors = dict[str, Factor]
R = TypeVar("R")


def distributed_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    group: dist.ProcessGroup | None = None,
    **options: Any,
) -> Tensor:
    """`empirical_ntk` with the samples split over the ranks of a process group.

    Every rank differentiates its share, broadcasts the derivatives in compressed form, and computes its rows;
    each block of a symmetric kernel is computed once. All ranks call the function with equal arguments, each
    on its device, and all return the kernel.

    Args:
        model: see `empirical_ntk`; the same parameters on every rank.
        x1: inputs of shape (N1, …).
        x2: inputs of shape (N2, …).
        group: the process group; None: all ranks.
        **options: those of `empirical_ntk` except `blocks`; `max_bytes` bounds the recording alone: a rank
            also holds the derivatives of its share and of one other.

    Returns:
        The kernel, equal to that of one process up to rounding and the tolerance of the compression.

    Raises:
        ValueError: there are fewer samples than ranks, `blocks` is given, or as `empirical_ntk`.
        Exception: an exception on one rank is raised on all, with a note that names the rank.
    """
    return measure_distributed_ntk(model, x1, x2, group=group, **options).kernel


@full_float32()
@torch.enable_grad()
def measure_distributed_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    group: dist.ProcessGroup | None = None,
    **options: Any,
) -> MeasuredKernel:
    """The kernel of `distributed_ntk` and its report; each error is the maximum over ranks.

    Arguments, keywords and errors are those of `distributed_ntk`.
    """
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    samples = min(len(x1), len(x1 if x2 is None else x2))
    if samples < ranks:
        raise ValueError(f"{samples} samples are fewer than the group's {ranks} ranks")
    if options.get("blocks"):
        raise ValueError("blocks=True is for one process: use empirical_ntk")
    rows, columns = _shares(len(x1), ranks), _shares(len(x1 if x2 is None else x2), ranks)
    engine = _engine(model, x1, x2, Options(**options), rows[rank], group)
    mine, sent = _derivatives(engine, rows[rank], columns[rank], group)
    kernels = engine.zeros()
    for owner in range(ranks):
        theirs = _broadcast(sent if owner == rank else None, owner, group, engine.x1.device)
        if engine.x2 is not None or _computes(rank, owner):
            engine.add(kernels, mine, mine if theirs is sent is mine else theirs, rows[rank], columns[owner])
    kernel = kernels[""]
    dist.all_reduce(kernel, group=group)  # every entry comes from one rank
    report = _together(engine.report, group)
    return MeasuredKernel({"": engine.arranged(kernel)}, report)


def _engine(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None,
    options: Options,
    share: slice,
    group: dist.ProcessGroup | None,
) -> Engine:
    """Engine for this rank's share; all ranks use the same form of derivatives."""
    engine = _together(lambda: Engine(model, x1, x2, options, share), group)
    recorded = _gathered(isinstance(engine.factors, RecordedFactors), group)
    if any(recorded) and not all(recorded):  # on some samples the recorded calls do not give the derivative
        options = replace(options, method="jacobian")
        return _together(lambda: Engine(model, x1, x2, options, share), group)
    if isinstance(engine.factors, RecordedFactors):
        engine.factors.choices = _broadcast_object(engine.factors.choices, 0, group)
    return engine


def _shares(samples: int, ranks: int) -> list[slice]:
    bounds = [samples * j // ranks for j in range(ranks + 1)]
    return [slice(start, end) for start, end in pairwise(bounds)]


def _computes(rank: int, other: int) -> bool:
    """Whether `rank` computes its block with `other`: exactly one of the two does, evenly distributed."""
    if rank == other:
        return True
    return (rank < other) == ((rank + other) % 2 == 0)


def _derivatives(
    engine: Engine, rows: slice, columns: slice, group: dist.ProcessGroup | None
) -> tuple[Factors, Factors]:
    """Derivatives of this rank's rows and columns, compressed on all ranks or on none."""

    def local() -> tuple[Factors, Factors]:
        mine = engine.factors(engine.x1[rows])
        return mine, mine if engine.x2 is None else engine.factors(engine.x2[columns])

    try:
        factors = _together(local, group)
    except CompressionFailed as failure:
        engine.stop_compressing(failure)
        factors = _together(local, group)
    if isinstance(engine.factors, RecordedFactors):
        for error in ("compression_error", "coupling"):
            setattr(engine.factors, error, max(_gathered(getattr(engine.factors, error), group)))
    return factors


def _together(work: Callable[[], R], group: dist.ProcessGroup | None) -> R:
    """Result of `work` on this rank; all ranks wait, and an exception on one rank is raised on all."""
    result: R | None = None
    failure: Exception | None = None
    try:
        result = work()
    except Exception as error:
        failure = error
    failures = [(rank, f) for rank, f in enumerate(_gathered(_portable(failure), group)) if f is not None]
    if not failures:
        return cast(R, result)
    # Failures without a retry come first.
    rank, first = min(failures, key=lambda one: isinstance(one[1], CompressionFailed))
    if rank == dist.get_rank(group) and failure is not None:
        raise failure
    first.add_note(f"on rank {rank}")
    raise first from failure


def _portable(failure: Exception | None) -> Exception | None:
    """The failure, replaced by a `RuntimeError` if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(failure))
    except Exception:
        return RuntimeError(f"{type(failure).__name__}: {failure}")
    return failure


def _gathered(value: R, group: dist.ProcessGroup | None) -> list[R]:
    """The values of all ranks, by rank."""
    values: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(values, value, group=group)
    return values


def _broadcast(
    factors: Factors | None, owner: int, group: dist.ProcessGroup | None, device: torch.device
) -> Factors:
    """The derivatives of the rank `owner`, on every rank."""
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
