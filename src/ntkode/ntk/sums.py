"""Cumulative sums that are deterministic on every device."""

from __future__ import annotations

from torch import Tensor


def cumulative_sum(values: Tensor, dim: int) -> Tensor:
    """Σ_{b≤m} values_b along `dim`, on the device of `values`.

    CUDA's own sum is not deterministic, and PyTorch refuses it under `torch.use_deterministic_algorithms`, so
    the CPU computes the sums of a GPU's tensor.
    """
    return values.cpu().cumsum(dim).to(values.device)
