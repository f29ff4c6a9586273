"""Training under a constant kernel: loss curves, predictions, step sizes.

Gradient descent with step η on L = ½‖f − y‖² under a constant kernel Θ multiplies the residual by
1 − ηΘ in every step (Jacot, Gabriel, Hongler 2018, arXiv 1806.07572; Lee et al. 2019, arXiv 1902.06720).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ntkode.ntk import SpectralMeasure, eigenpairs
from ntkode.theory.rates import predicted_losses


@dataclass(frozen=True)
class LinearisedTraining:
    """Training under a constant kernel Θ; the residual decays along each eigenvector independently.

    r_k = (1 − ηΘ)^k r₀ for gradient descent with step η on L = ½‖f − y‖², r_t = exp(−Θt) r₀ for gradient
    flow, and f(x*) = f₀(x*) + Θ(x*, X) Θ⁻¹ (r₀ − r) on other inputs (Lee et al. 2019, arXiv 1902.06720,
    eq. 8–11). Components of the residual in the null space of Θ stay constant.

    Args:
        kernel: Θ(X, X), shape (M, M): the limit Θ_∞ with M = N, the same for every output, or a full
            empirical Θ₀ with M = N·k.
        residual: r₀ = y − f₀(X), shape (M, c): c = k outputs for Θ_∞, (N·k, 1) for a full kernel.

    Raises:
        ValueError: the shapes do not match, the residual is not finite, or `spectrum` refuses the kernel.
    """

    kernel: Tensor
    residual: Tensor

    def __post_init__(self) -> None:
        if self.residual.ndim != 2 or len(self.residual) != len(self.kernel):
            raise ValueError(
                f"a residual of shape {tuple(self.residual.shape)} does not match a kernel of shape "
                f"{tuple(self.kernel.shape)}: it must be (M, c)"
            )
        if not self.residual.isfinite().all():
            raise ValueError("the initial residual is not finite")

    @cached_property
    def _modes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvalues λ (M,), eigenvectors V (M, M) and V^T r₀ (M, c), float64."""
        values, vectors = eigenpairs(self.kernel, 0, -1)
        return values, vectors, vectors.T @ self.residual.to(vectors)

    @property
    def lambda_max(self) -> float:
        """λ_max, the largest eigenvalue of the kernel."""
        return float(self._modes[0][-1])

    @property
    def stable_learning_rate(self) -> float:
        """2/λ_max: gradient descent converges for smaller η and diverges for larger η."""
        return 2 / self.lambda_max if self.lambda_max > 0 else math.inf

    @property
    def measure(self) -> SpectralMeasure:
        """Exact distribution of the residual's energy over the kernel's eigenvalues."""
        values, _, shares = self._modes
        energy = shares.square().sum(1)
        return SpectralMeasure(values, energy / energy.sum().clamp_min(torch.finfo(torch.float64).tiny))

    def losses(self, learning_rate: float, steps: int) -> list[float]:
        """L_k of gradient descent for k = 0, …, steps."""
        return predicted_losses(self.measure, self.loss, learning_rate, steps)

    @property
    def loss(self) -> float:
        """L₀ = ½‖r₀‖², the initial loss."""
        return 0.5 * float(self.residual.double().square().sum())

    def after_steps(self, learning_rate: float, step: int) -> Tensor:
        """r_k of gradient descent, shape (M, c)."""
        return self._decayed((1 - learning_rate * self._modes[0]) ** step)

    def after_time(self, time: float) -> Tensor:
        """r_t of gradient flow, shape (M, c)."""
        return self._decayed(torch.exp(-self._modes[0] * time))

    def learned(self, cross_kernel: Tensor, residual: Tensor) -> Tensor:
        """f(x*) − f₀(x*), shape (M*, c), at the time when the training residual is `residual`.

        Args:
            cross_kernel: Θ(x*, X), shape (M*, M).
            residual: r_k or r_t, shape (M, c); zero for training to convergence.
        """
        values, vectors, shares = self._modes
        covered = shares - vectors.T @ residual.to(vectors)
        floor = len(values) * torch.finfo(torch.float64).eps * values[-1]
        inverse = torch.where(values > floor, 1 / values.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
        return cross_kernel.to(vectors) @ (vectors @ (inverse[:, None] * covered))

    def steps_to(self, ratio: float, learning_rate: float) -> float:
        """Smallest k with L_k ≤ ratio · L₀; inf if there is none.

        Raises:
            ValueError: the ratio is outside (0, 1), or training diverges at this learning rate.
        """
        if not 0 < ratio < 1:
            raise ValueError(f"ratio={ratio} of the initial loss must lie between 0 and 1")
        if not 0 < learning_rate < self.stable_learning_rate:
            stable = self.stable_learning_rate
            raise ValueError(f"learning_rate={learning_rate} must lie between 0 and 2/λ_max = {stable:.3g}")
        measure = self.measure
        factors = (1 - learning_rate * measure.ritz_values).abs()
        moving = factors < 1 - torch.finfo(torch.float64).eps
        if float(measure.weights[~moving].sum()) > ratio:
            return math.inf
        low, high = 0, 1
        while self._ratio(factors, high) > ratio:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._ratio(factors, middle) > ratio else (low, middle)
        return float(high)

    def _ratio(self, factors: Tensor, step: int) -> float:
        return float((factors ** (2 * step)) @ self.measure.weights)

    def _decayed(self, factors: Tensor) -> Tensor:
        _, vectors, shares = self._modes
        return vectors @ (factors[:, None] * shares)
