import itertools
import math

import numpy as np
import pytest
import torch

from ntkode.ntk import lanczos
from ntkode.theory import contraction_rate, decay_rate, predicted_losses, windows


def test_windows():
    assert windows(200) == [(0, 20), (20, 50), (50, 100), (100, 200)]
    assert windows(100) == [(0, 20), (20, 50), (50, 100)]
    assert windows(500) == [(0, 20), (20, 50), (50, 100), (100, 200), (200, 400), (400, 500)]
    assert windows(12) == [(0, 12)]
    assert windows(22) == [(0, 22)]  # two steps are no window of their own
    assert windows(0) == []


def test_windows_cover_every_run_without_gaps():
    for steps in range(1, 900):
        found = windows(steps)
        assert found[0][0] == 0
        assert found[-1][1] == steps
        assert all(a[1] == b[0] for a, b in itertools.pairwise(found))


def test_decay_rate_of_an_exponential():
    losses = [7.0 * math.exp(-0.03 * k) for k in range(101)]
    assert decay_rate(losses, 20, 80) == pytest.approx(0.03)


def test_decay_rate_needs_positive_finite_losses():
    assert math.isnan(decay_rate([1.0, 0.0, 1.0], 0, 2))
    assert math.isnan(decay_rate([1.0, math.nan, 1.0], 0, 2))
    assert math.isnan(decay_rate([1.0], 0, 5))


def test_predicted_losses_are_those_of_linear_gradient_descent():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    kernel, residual = a @ a.T, torch.randn(8, generator=generator, dtype=torch.float64)
    rate = 0.9 / float(torch.linalg.eigvalsh(kernel)[-1])
    predicted = predicted_losses(
        lanczos(lambda v: kernel @ v, residual, 8), 0.5 * float(residual.square().sum()), rate, 40
    )
    for value in predicted:
        # Eight Lanczos steps exhaust the space: exact up to rounding.
        assert value == pytest.approx(0.5 * float(residual.square().sum()), rel=1e-9)
        residual = residual - rate * kernel @ residual


def test_contraction_rate():
    assert contraction_rate(0.1, 2.0) == pytest.approx(-2 * np.log(0.8))
    assert contraction_rate(0.5, 0.0) == 0
    assert contraction_rate(0.5, 2.0) == math.inf
    assert contraction_rate(1.0, 3.0) == pytest.approx(-2 * math.log(2))  # beyond 2/λ the loss grows
