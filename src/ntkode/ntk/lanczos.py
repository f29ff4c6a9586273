"""Spectral measure of a vector under a symmetric operator, from its products with vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkode.ntk.spectrum import NonFiniteKernelError


@dataclass(frozen=True)
class SpectralMeasure:
    """Σ_j ω_j δ(λ − θ_j): distribution of a start vector's energy over the kernel's eigenvalues.

    Attributes:
        ritz_values: θ_j in ascending order, float64; the last approximates λ_max.
        weights: ω_j ≥ 0 with Σ ω_j = 1.
    """

    ritz_values: Tensor
    weights: Tensor

    @property
    def lambda_max(self) -> float:
        """Largest Ritz value, a lower bound that converges fast to λ_max."""
        return float(self.ritz_values[-1])


def lanczos(product: Callable[[Tensor], Tensor], start: Tensor, iterations: int = 30) -> SpectralMeasure:
    """Spectral measure of `start` under a symmetric operator, with full reorthogonalisation in float64.

    The measure is the Gauss quadrature of r₀^T g(Θ) r₀ / ‖r₀‖², exact for polynomials g of degree
    2·iterations − 1 (Golub and Meurant 2010, ch. 6).

    Args:
        product: v ↦ Θ v for tensors of `start`'s shape.
        start: r₀, any shape, not zero.
        iterations: number of Lanczos steps; fewer if the Krylov space is exhausted.

    Raises:
        ValueError: the start vector is zero or not finite.
        NonFiniteKernelError: a product is not finite.
    """
    vector = start.double() / start.double().norm()
    if not vector.isfinite().all():
        raise ValueError("Lanczos needs a finite, non-zero start: the residual is zero or not finite")
    basis = [vector]
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    while True:
        image = product(basis[-1])
        if not image.isfinite().all():
            raise NonFiniteKernelError(
                "a kernel–vector product is not finite: the model's output is not finite"
            )
        diagonal.append(float((image * basis[-1]).sum()))
        for _ in range(2):  # twice suffices for orthogonality up to rounding (Parlett 1980)
            for direction in basis:
                image = image - (image * direction).sum() * direction
        norm = float(image.norm())
        if len(diagonal) >= min(iterations, start.numel()) or norm <= 1e-10 * math.fabs(diagonal[0]):
            break
        off_diagonal.append(norm)
        basis.append(image / norm)
    tridiagonal = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for j, value in enumerate(off_diagonal):
        tridiagonal[j, j + 1] = tridiagonal[j + 1, j] = value
    ritz_values, vectors = torch.linalg.eigh(tridiagonal)
    return SpectralMeasure(ritz_values, vectors[0] ** 2)
