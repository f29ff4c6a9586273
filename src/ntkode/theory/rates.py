"""Decay rates of loss curves: fitted to the losses, and predicted from a kernel's spectrum."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ntkode.ntk import SpectralMeasure

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
