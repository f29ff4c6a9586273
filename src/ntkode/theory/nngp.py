"""The posterior of the infinitely wide network as a Gaussian process (NNGP)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Posterior:
    """Gaussian process posterior at the inputs x*.

    Attributes:
        mean: posterior mean, shape (N*, c).
        variance: posterior variance, the same for each output, shape (N*,).
    """

    mean: Tensor
    variance: Tensor


def nngp_posterior(
    train: Tensor, cross: Tensor, diagonal: Tensor, targets: Tensor, *, noise: float = 0.0
) -> Posterior:
    """Posterior of the infinitely wide network as a Gaussian process: only the last layer is trained.

    mean = K* (K + σ²)⁻¹ y and variance = K** − K* (K + σ²)⁻¹ K*^T (Rasmussen and Williams 2006, eq. 2.23–24).

    Args:
        train: K(X, X), shape (N, N), the NNGP kernel.
        cross: K* = K(x*, X), shape (N*, N).
        diagonal: K** = K(x*, x*), shape (N*,).
        targets: y, shape (N, c).
        noise: σ², the variance of the targets' noise.

    Raises:
        ValueError: the kernel plus noise is singular.
    """
    train, cross, diagonal = train.double(), cross.double(), diagonal.double()
    noisy = train + noise * torch.eye(len(train), dtype=torch.float64, device=train.device)
    factor, failed = torch.linalg.cholesky_ex(noisy)
    if int(failed):
        raise ValueError(
            f"the NNGP kernel of {len(train)} samples is singular at noise={noise}: use noise=1e-6, or "
            "remove duplicate samples"
        )
    mean = cross @ torch.cholesky_solve(targets.to(train), factor)
    whitened = torch.linalg.solve_triangular(factor, cross.T, upper=False)
    return Posterior(mean, (diagonal - whitened.square().sum(0)).clamp_min(0.0))
