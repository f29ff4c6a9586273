"""What linearised training predicts: loss curves, decay rates, step sizes.

Gradient descent with step η on L = ½‖f − y‖² under a constant kernel Θ multiplies the residual by
1 − ηΘ in every step (Jacot, Gabriel, Hongler 2018, arXiv 1806.07572; Lee et al. 2019, arXiv 1902.06720).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ntkode.ntk import SpectralMeasure, eigenpairs

# Steps between which decay rates are fitted; longer runs go on doubling.
FIRST_WINDOWS = (0, 20, 50, 100, 200)


def windows(steps: int) -> list[tuple[int, int]]:
    """The windows (first step, last step) of a run: 0–20, 20–50, 50–100, 100–200, then doubling.

    The last one ends with the run; one of fewer than 5 steps joins its predecessor.
    """
    if steps < 1:
        return []
    bounds = list(FIRST_WINDOWS)
    while bounds[-1] < steps:
        bounds.append(2 * bounds[-1])
    inner = [b for b in bounds if b < steps]
    if len(inner) > 1 and steps - inner[-1] < 5:
        inner.pop()
    return list(zip(inner, [*inner[1:], steps], strict=True))


def decay_rate(losses: Sequence[float], first: int, last: int) -> float:
    """−slope of log L_k over k = first … last, by least squares; per step.

    NaN where a loss of the window is not positive and finite, or the window holds fewer than two.
    """
    window = np.asarray(losses[first : last + 1], dtype=np.float64)
    if len(window) < 2 or not np.all(np.isfinite(window) & (window > 0)):
        return math.nan
    return float(-np.polyfit(np.arange(len(window)), np.log(window), 1)[0])


def predicted_losses(measure: SpectralMeasure, loss: float, learning_rate: float, steps: int) -> list[float]:
    """P_k = L_0 Σ_j ω_j (1 − ηθ_j)^{2k}, k = 0 … steps: gradient descent linearised at θ₀.

    Args:
        measure: of the residual r₀ under the full kernel Θ₀ of the training set.
        loss: L_0 = ½‖r₀‖².
        learning_rate: η.
        steps: the last k.
    """
    factors = (1 - learning_rate * measure.ritz_values).square()
    powers = factors ** torch.arange(steps + 1, dtype=torch.float64, device=factors.device)[:, None]
    return (loss * powers @ measure.weights).tolist()


def contraction_rate(learning_rate: float, eigenvalue: float) -> float:
    """−2 log|1 − ηλ|: the loss's decay per step along an eigenvector of the kernel with eigenvalue λ.

    With λ_min of the full training kernel it is the theory's guaranteed rate; with the Rayleigh
    quotient of the kernel at the residual, the local rate. Infinite where ηλ = 1.
    """
    factor = abs(1 - learning_rate * eigenvalue)
    return -2 * math.log(factor) if factor > 0 else math.inf


@dataclass(frozen=True)
class LinearisedTraining:
    """Training under a constant kernel Θ: every eigenvector's share of the residual decays by itself.

    r_k = (1 − ηΘ)^k r₀ for gradient descent with step η on L = ½‖f − y‖², r_t = exp(−Θt) r₀ for gradient
    flow, and f(x*) = f₀(x*) + Θ(x*, X) Θ⁻¹ (r₀ − r) on other inputs (Lee et al. 2019, arXiv 1902.06720,
    eq. 8–11). On a direction in which Θ vanishes nothing is learned.

    Args:
        kernel: Θ(X, X), shape (M, M): the limit Θ_∞ with M = N, which acts on every output alike, or a full
            empirical Θ₀ with M = N·k.
        residual: r₀ = y − f₀(X), shape (M, c): c = k outputs for Θ_∞, (N·k, 1) for a full kernel.

    Raises:
        ValueError: shapes that do not match, a residual that is not finite, or a kernel that `spectrum`
            refuses.
    """

    kernel: Tensor
    residual: Tensor

    def __post_init__(self) -> None:
        if self.residual.ndim != 2 or len(self.residual) != len(self.kernel):
            raise ValueError(
                f"a residual of shape {tuple(self.residual.shape)} does not go with a kernel of shape "
                f"{tuple(self.kernel.shape)}: it must be (M, c)"
            )
        if not self.residual.isfinite().all():
            raise ValueError("the residual at the start is not finite")

    @cached_property
    def _modes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvalues λ (M,), eigenvectors V (M, M) and V^T r₀ (M, c), float64."""
        values, vectors = eigenpairs(self.kernel, 0, -1)
        return values, vectors, vectors.T @ self.residual.to(vectors)

    @property
    def lambda_max(self) -> float:
        """The largest eigenvalue."""
        return float(self._modes[0][-1])

    @property
    def stable_learning_rate(self) -> float:
        """2/λ_max: gradient descent converges for every smaller η, and diverges for every larger one."""
        return 2 / self.lambda_max if self.lambda_max > 0 else math.inf

    @property
    def measure(self) -> SpectralMeasure:
        """The residual's energy over the kernel's eigenvalues: exact, where Lanczos approximates."""
        values, _, shares = self._modes
        energy = shares.square().sum(1)
        return SpectralMeasure(values, energy / energy.sum().clamp_min(torch.finfo(torch.float64).tiny))

    def losses(self, learning_rate: float, steps: int) -> list[float]:
        """L_k of gradient descent, k = 0 … steps."""
        return predicted_losses(self.measure, self.loss, learning_rate, steps)

    @property
    def loss(self) -> float:
        """L₀ = ½‖r₀‖²."""
        return 0.5 * float(self.residual.double().square().sum())

    def after_steps(self, learning_rate: float, step: int) -> Tensor:
        """r_k of gradient descent, shape (M, c)."""
        return self._decayed((1 - learning_rate * self._modes[0]) ** step)

    def after_time(self, time: float) -> Tensor:
        """r_t of gradient flow, shape (M, c)."""
        return self._decayed(torch.exp(-self._modes[0] * time))

    def learned(self, cross_kernel: Tensor, residual: Tensor) -> Tensor:
        """f(x*) − f₀(x*) when the training residual is `residual`, shape (M*, c).

        Args:
            cross_kernel: Θ(x*, X), shape (M*, M).
            residual: r_k or r_t, shape (M, c); zero for training without end.
        """
        values, vectors, shares = self._modes
        covered = shares - vectors.T @ residual.to(vectors)
        floor = len(values) * torch.finfo(torch.float64).eps * values[-1]
        inverse = torch.where(values > floor, 1 / values.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
        return cross_kernel.to(vectors) @ (vectors @ (inverse[:, None] * covered))

    def steps_to(self, ratio: float, learning_rate: float) -> float:
        """The first k at which L_k ≤ ratio · L₀; infinite where training never gets there.

        Raises:
            ValueError: a ratio outside (0, 1), or a learning rate at which training diverges.
        """
        if not 0 < ratio < 1:
            raise ValueError(f"ratio={ratio} of the loss at the start must lie between 0 and 1")
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


@dataclass(frozen=True)
class Posterior:
    """A Gaussian process after it has seen the training set.

    Attributes:
        mean: shape (N*, c).
        variance: of each output at each input, shape (N*,).
    """

    mean: Tensor
    variance: Tensor


def nngp_posterior(
    train: Tensor, cross: Tensor, diagonal: Tensor, targets: Tensor, *, noise: float = 0.0
) -> Posterior:
    """Posterior of the network's limit as a Gaussian process, all weights but the last at random.

    mean = K* (K + σ²)⁻¹ y and variance = K** − K* (K + σ²)⁻¹ K*^T (Rasmussen and Williams 2006, eq. 2.23–24).

    Args:
        train: K(X, X), shape (N, N), the NNGP kernel.
        cross: K* = K(x*, X), shape (N*, N).
        diagonal: K** = K(x*, x*), shape (N*,).
        targets: y, shape (N, c).
        noise: σ², the variance of the targets' noise.

    Raises:
        ValueError: a kernel that is singular at this noise.
    """
    train, cross, diagonal = train.double(), cross.double(), diagonal.double()
    noisy = train + noise * torch.eye(len(train), dtype=torch.float64, device=train.device)
    factor, failed = torch.linalg.cholesky_ex(noisy)
    if int(failed):
        raise ValueError(
            f"the NNGP kernel of {len(train)} samples is singular at noise={noise}: take noise=1e-6, or "
            "leave out duplicate samples"
        )
    mean = cross @ torch.cholesky_solve(targets.to(train), factor)
    whitened = torch.linalg.solve_triangular(factor, cross.T, upper=False)
    return Posterior(mean, (diagonal - whitened.square().sum(0)).clamp_min(0.0))
