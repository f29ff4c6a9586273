"""Empirical kernel for metrics; the ranks of a run share its rows."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ntkode.ntk import REPRODUCIBLE_BYTES, MeasuredKernel, measure_distributed_ntk, measure_ntk
from ntkode.ranks import ranks


def shared_kernel(model: nn.Module, x: Tensor, **options: Any) -> MeasuredKernel:
    """`measure_ntk` of x within `REPRODUCIBLE_BYTES`; each rank differentiates a part of x and gets it all.

    All ranks call it together, as in a `collective` metric. With fewer samples than ranks, every rank
    computes the whole kernel.

    Args:
        model: see `measure_ntk`; the same parameters on every rank.
        x: inputs of shape (N, …), the same on every rank.
        **options: see `measure_ntk`.
    """
    measure = measure_distributed_ntk if 1 < ranks() <= len(x) else measure_ntk
    return measure(model, x, max_bytes=REPRODUCIBLE_BYTES, **options)
