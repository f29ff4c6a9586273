"""Decay rates of loss curves: fitted to losses, or predicted from a kernel's spectrum."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ntkode.ntk import SpectralMeasure

# Ends of the windows in which decay rates are fitted; in longer runs the next ends double.
FIRST_WINDOWS = (0, 20, 50, 100, 200)


def windows(steps: int) -> list[tuple[int, int]]:
    """Windows (first step, last step) of a run: 0–20, 20–50, 50–100, 100–200, then doubling.

    The last window ends at the last step; if it has fewer than 5 steps, it is merged with the previous one.
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
    """−slope of log L_k over k = first, …, last, per step, by least squares.

    NaN if a loss in the window is not positive and finite, or if the window has fewer than two losses.
    """
    window = np.asarray(losses[first : last + 1], dtype=np.float64)
    if len(window) < 2 or not np.all(np.isfinite(window) & (window > 0)):
        return math.nan
    return float(-np.polyfit(np.arange(len(window)), np.log(window), 1)[0])


def predicted_losses(measure: SpectralMeasure, loss: float, learning_rate: float, steps: int) -> list[float]:
    """P_k = L_0 Σ_j ω_j (1 − ηθ_j)^{2k}, k = 0, …, steps: gradient descent linearised at θ₀.

    Args:
        measure: spectral measure (θ_j, ω_j) of the residual r₀ under the full kernel Θ₀ of the training set.
        loss: L_0 = ½‖r₀‖².
        learning_rate: η.
        steps: number of steps, the last k.
    """
    factors = (1 - learning_rate * measure.ritz_values).square()
    powers = factors ** torch.arange(steps + 1, dtype=torch.float64, device=factors.device)[:, None]
    return (loss * powers @ measure.weights).tolist()


def contraction_rate(learning_rate: float, eigenvalue: float) -> float:
    """−2 log|1 − ηλ|: decay of log L per step along an eigenvector with eigenvalue λ.

    With λ_min of the full training kernel it is the theory's guaranteed rate; with the Rayleigh quotient of
    the kernel at the residual it is the local rate. inf if ηλ = 1.
    """
    factor = abs(1 - learning_rate * eigenvalue)
    return -2 * math.log(factor) if factor > 0 else math.inf
