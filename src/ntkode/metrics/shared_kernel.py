"""The kernel that a metric measures, its rows shared among the ranks of a run."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ntkode.ntk import REPRODUCIBLE_BYTES, MeasuredKernel, measure_distributed_ntk, measure_ntk
from ntkode.ranks import ranks


def shared_kernel(model: nn.Module, x: Tensor, **options: Any) -> MeasuredKernel:
    """`measure_ntk` of x within `REPRODUCIBLE_BYTES`: on every rank, which differentiate a part of x each.

    All ranks call it together, as those of a `collective` metric do. Samples fewer than the ranks are not
    worth sharing: every rank computes the whole kernel then.

    Args:
        model: see `measure_ntk`; the same parameters on every rank.
        x: inputs of shape (N, …), the same on every rank.
        **options: see `measure_ntk`.
    """
    measure = measure_distributed_ntk if 1 < ranks() <= len(x) else measure_ntk
    return measure(model, x, max_bytes=REPRODUCIBLE_BYTES, **options)
