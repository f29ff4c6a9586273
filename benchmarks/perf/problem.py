"""The kernels to measure: a Neural ODE at initialisation and random inputs, as arrays for any library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntkode.integrate import Solver
from ntkode.models import NeuralODE
from ntkode.ntk import measure_ntk, spectrum

FEATURES = 784
# Smaller than any measured problem: first calls load libraries and fill caches.
WARM_UP = (8, 16)
# Condition number of the ill-conditioned inputs, and first distance of the near-duplicates.
CONDITION, FIRST_SPREAD = 1e6, 1e-2


@dataclass(frozen=True)
class Problem:
    """One kernel: N samples, width n, a fixed-step solver and its number of steps."""

    samples: int
    width: int
    solver: str
    steps: int = 10

    def __str__(self) -> str:
        return f"({self.samples}, {self.width}) {self.solver}"


def draw(problem: Problem, spread: float | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    """U, W, v with N(0, 1) entries and inputs x of norm √d, float32.

    Args:
        problem: the sizes.
        spread: relative distance of half of the inputs from the other half; None: independent inputs.
        seed: seed of all numbers.
    """
    random = np.random.default_rng(seed)
    n, d = problem.width, FEATURES
    arrays = {"U": random.standard_normal((n, d)), "W": random.standard_normal((n, n))}
    arrays |= {"v": random.standard_normal((n, 1)), "x": random.standard_normal((problem.samples, d))}
    if spread is not None:
        half = problem.samples // 2
        arrays["x"][-half:] = arrays["x"][:half] + spread * arrays["x"][-half:]
    arrays["x"] *= np.sqrt(d) / np.linalg.norm(arrays["x"], axis=1, keepdims=True)
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of `draw`, read from an .npz file."""
    with np.load(path) as stored:
        return dict(stored)


def model_and_inputs(
    arrays: dict[str, np.ndarray], problem: Problem, device: str = "cpu"
) -> tuple[NeuralODE, Tensor]:
    """The model with these parameters, and its inputs, float32."""
    model = NeuralODE(
        FEATURES, problem.width, activation="tanh", solver=Solver(problem.solver, steps=problem.steps)
    )
    model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in ("U", "W", "v")})
    return model.to(device), torch.from_numpy(arrays["x"]).to(device)


def ill_conditioned(problem: Problem, device: str) -> dict[str, np.ndarray]:
    """Near-duplicate inputs with a kernel of condition number about 1e6."""
    # The kernel is smooth, so λ_min falls as the square of the spread: one correction suffices.
    model, x = model_and_inputs(draw(problem, FIRST_SPREAD), problem, device)
    condition = spectrum(measure_ntk(model, x, dtype=torch.float64).kernel).condition_number
    return draw(problem, FIRST_SPREAD * (condition / CONDITION) ** 0.5)
