"""The spectrum of a symmetric kernel, with the floor under which λ_min is rounding noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


class NonFiniteKernelError(ValueError):
    """A kernel, or a product with one, holds NaN or infinite entries."""


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalue summary of an N×N kernel.

    Attributes:
        lambda_min: smallest eigenvalue.
        lambda_max: largest eigenvalue.
        condition_number: λ_max / max(λ_min, resolution): a lower bound where λ_min is below resolution.
        effective_rank: exp(entropy of the normalised eigenvalues), between 1 and N
            (Roy and Vetterli 2007).
        resolution: N·ε·λ_max, the error of computed eigenvalues: a smaller |λ_min| is noise.
    """

    lambda_min: float
    lambda_max: float
    condition_number: float
    effective_rank: float
    resolution: float

    @property
    def below_resolution(self) -> bool:
        """Whether λ_min cannot be told from zero."""
        return self.lambda_min <= self.resolution


def spectrum(kernel: Tensor) -> Spectrum:
    """Spectrum of a symmetric positive semi-definite kernel, by float64 eigenvalues.

    Args:
        kernel: shape (N, N); its symmetric part is decomposed.

    Raises:
        ValueError: a kernel that is not square, or not symmetric to 1e-6 relative.
        NonFiniteKernelError: a kernel that is not finite.
    """
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or len(kernel) == 0:
        raise ValueError(f"a spectrum needs a square kernel, not shape {tuple(kernel.shape)}")
    if not kernel.isfinite().all():
        raise NonFiniteKernelError(
            "the kernel holds NaN or infinite entries: the model's output is not finite"
        )
    epsilon = torch.finfo(kernel.dtype).eps
    kernel = kernel.double()
    asymmetry = (kernel - kernel.T).abs().max() / kernel.abs().max().clamp_min(
        torch.finfo(torch.float64).tiny
    )
    # Rounding leaves about ε·√N; anything near 1e-6 is another kernel than meant.
    if asymmetry > 1e-6:
        raise ValueError(f"the kernel is not symmetric: relative difference {asymmetry:.1e} to its transpose")
    eigenvalues = torch.linalg.eigvalsh((kernel + kernel.T) / 2)
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    resolution = len(kernel) * epsilon * max(largest, 0.0)
    floor = max(smallest, resolution)
    return Spectrum(
        lambda_min=smallest,
        lambda_max=largest,
        condition_number=largest / floor if floor > 0 else math.inf,
        effective_rank=_effective_rank(eigenvalues),
        resolution=resolution,
    )


def _effective_rank(eigenvalues: Tensor) -> float:
    positive = eigenvalues[eigenvalues > 0]
    if len(positive) == 0:
        return 0.0
    shares = positive / positive.sum()
    return float(torch.exp(-(shares * shares.log()).sum()))


def kernel_alignment(kernel: Tensor, targets: Tensor) -> float:
    """Centred kernel–target alignment ⟨HΘH, H Y Y^T H⟩ / (‖HΘH‖ ‖H Y Y^T H‖), H = I − 11^T/N.

    Args:
        kernel: Θ, shape (N, N).
        targets: Y, shape (N, k).

    Returns:
        A value in [0, 1] for a positive semi-definite kernel; NaN where either side vanishes
        (Cortes, Mohri, Rostamizadeh 2012, eq. 2).
    """
    targets = targets.to(kernel)
    centred = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    targets = targets - targets.mean(0)
    similarity = targets @ targets.T
    norms = centred.norm() * similarity.norm()
    return float((centred * similarity).sum() / norms) if norms > 0 else math.nan
