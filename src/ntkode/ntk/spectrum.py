"""Spectrum of a symmetric kernel, with the resolution below which λ_min is rounding noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy.linalg
import torch
from torch import Tensor


class NonFiniteKernelError(ValueError):
    """A kernel, or a product with a kernel, has NaN or infinite entries."""


@dataclass(frozen=True)
class Spectrum:
    """Summary of the eigenvalues of an N×N kernel.

    Attributes:
        lambda_min: smallest eigenvalue.
        lambda_max: largest eigenvalue.
        condition_number: λ_max / max(λ_min, resolution): a lower bound if λ_min is below the resolution.
        effective_rank: exp(entropy of the normalised eigenvalues), between 1 and N
            (Roy and Vetterli 2007).
        resolution: λ_max (N ε + δ²), the error of a vanishing eigenvalue by rounding (ε) and by the error δ
            of ∂f/∂θ; a smaller |λ_min| is noise.
    """

    lambda_min: float
    lambda_max: float
    condition_number: float
    effective_rank: float
    resolution: float

    @property
    def below_resolution(self) -> bool:
        """Whether λ_min is indistinguishable from zero: λ_min ≤ resolution."""
        return self.lambda_min <= self.resolution


def spectrum(kernel: Tensor, *, jacobian_error: float = 0.0) -> Spectrum:
    """Spectrum of a symmetric positive semi-definite kernel, by float64 eigenvalues.

    Args:
        kernel: shape (N, N); its symmetric part is decomposed.
        jacobian_error: δ, relative error of the J = ∂f/∂θ in Θ = JJ^T, as reported by `measure_ntk` and used
            by `MeasuredKernel.spectrum`. Θ stays positive semi-definite: δ moves an eigenvalue λ by about
            2δ √(λ λ_max), and raises a vanishing one by at most δ² λ_max.

    Raises:
        ValueError: the kernel is not square, or not symmetric to 1e-6 relative.
        NonFiniteKernelError: the kernel is not finite.

    Example:
        >>> kernel = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
        >>> summary = spectrum(kernel)
        >>> round(summary.lambda_min, 6), round(summary.lambda_max, 6)
        (1.0, 3.0)
        >>> round(summary.condition_number, 6)
        3.0
    """
    epsilon = torch.finfo(kernel.dtype).eps
    eigenvalues = _eigenvalues(_symmetric(kernel))
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    resolution = (len(kernel) * epsilon + jacobian_error**2) * max(largest, 0.0)
    floor = max(smallest, resolution)
    return Spectrum(
        lambda_min=smallest,
        lambda_max=largest,
        condition_number=largest / floor if floor > 0 else math.inf,
        effective_rank=_effective_rank(eigenvalues),
        resolution=resolution,
    )


def eigenpairs(kernel: Tensor, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues with index first, …, last in ascending order, and their eigenvectors.

    Args:
        kernel: symmetric, shape (N, N).
        first: index of the first; 0 is the smallest, −1 the largest eigenvalue.
        last: index of the last, included.

    Returns:
        Values of shape (m,) and vectors of shape (N, m), float64.

    Raises:
        ValueError: an index is out of range, or `spectrum` refuses the kernel.
    """
    matrix = _symmetric(kernel)
    n = len(matrix)
    low, high = (index + n if index < 0 else index for index in (first, last))
    if not 0 <= low <= high < n:
        raise ValueError(
            f"eigenvalues {first} … {last} are out of range: the kernel has {n}, in ascending order"
        )
    values, vectors = scipy.linalg.eigh(matrix.cpu().numpy(), subset_by_index=[low, high])
    return torch.from_numpy(values).to(matrix), torch.from_numpy(vectors).to(matrix)


def _symmetric(kernel: Tensor) -> Tensor:
    """Symmetric part in float64 of a kernel; checks that it is square, finite and nearly symmetric."""
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or len(kernel) == 0:
        raise ValueError(f"a spectrum needs a square kernel, not shape {tuple(kernel.shape)}")
    if not kernel.isfinite().all():
        raise NonFiniteKernelError("the kernel has NaN or infinite entries: the model's output is not finite")
    kernel = kernel.double()
    asymmetry = (kernel - kernel.T).abs().max() / kernel.abs().max().clamp_min(
        torch.finfo(torch.float64).tiny
    )
    # Rounding causes about ε·√N; a difference near 1e-6 is not rounding.
    if asymmetry > 1e-6:
        raise ValueError(f"the kernel is not symmetric: relative difference {asymmetry:.1e} to its transpose")
    return (kernel + kernel.T) / 2


def _eigenvalues(matrix: Tensor) -> Tensor:
    """All N eigenvalues of a symmetric matrix, ascending, shape (N,)."""
    # The reduction to a tridiagonal matrix dominates, so all eigenvalues cost as much as the extreme ones.
    # LAPACK's syevr takes half the time of torch's syevd at N = 1,000.
    if matrix.is_cuda:
        return torch.linalg.eigvalsh(matrix)
    return torch.from_numpy(scipy.linalg.eigvalsh(matrix.numpy()))


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
        A value in [0, 1] for a positive semi-definite kernel; NaN if either side vanishes
        (Cortes, Mohri, Rostamizadeh 2012, eq. 2).
    """
    targets = targets.to(kernel)
    centred = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    targets = targets - targets.mean(0)
    similarity = targets @ targets.T
    norms = centred.norm() * similarity.norm()
    return float((centred * similarity).sum() / norms) if norms > 0 else math.nan


def relative_distance(kernel: Tensor, reference: Tensor) -> float:
    """‖kernel − reference‖_F / ‖reference‖_F, of matrices (N1, N2)."""
    return float((kernel - reference).norm() / reference.norm())
