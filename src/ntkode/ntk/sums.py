"""Cumulative sums that are deterministic on every device."""

from __future__ import annotations

from torch import Tensor


def cumulative_sum(values: Tensor, dim: int) -> Tensor:
    """The sums Σ_{b≤m} values_b for every m along `dim`: a tensor of the shape and on the device of `values`.

    They are computed on the CPU, because CUDA's are not deterministic and PyTorch refuses them under
    `torch.use_deterministic_algorithms`.
    """
    return values.cpu().cumsum(dim).to(values.device)
