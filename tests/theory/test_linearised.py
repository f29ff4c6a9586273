import itertools
import math

import numpy as np
import pytest
import torch

from ntkode.ntk import lanczos
from ntkode.theory import (
    LinearisedTraining,
    contraction_rate,
    decay_rate,
    nngp_posterior,
    predicted_losses,
    windows,
)


def test_windows():
    assert windows(200) == [(0, 20), (20, 50), (50, 100), (100, 200)]
    assert windows(100) == [(0, 20), (20, 50), (50, 100)]
    assert windows(500) == [(0, 20), (20, 50), (50, 100), (100, 200), (200, 400), (400, 500)]
    assert windows(12) == [(0, 12)]
    assert windows(22) == [(0, 22)]  # two steps do not form a window
    assert windows(0) == []


def test_windows_cover_every_run_without_gaps():
    for steps in range(1, 900):
        bounds = windows(steps)
        assert bounds[0][0] == 0
        assert bounds[-1][1] == steps
        assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))


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


def problem(rows=8, outputs=2, rank=20):
    """A kernel of inner products on training and test inputs, and a residual."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows + 3, rank, generator=generator, dtype=torch.float64)
    kernel = features @ features.T
    residual = torch.randn(rows, outputs, generator=generator, dtype=torch.float64)
    return kernel[:rows, :rows], kernel[rows:, :rows], residual, features


def test_linearised_training_is_gradient_descent_on_the_linear_model():
    kernel, cross, residual, features = problem()
    training = LinearisedTraining(kernel, residual)
    rate = 0.7 * training.stable_learning_rate
    theta, left = torch.zeros(features.shape[1], 2, dtype=torch.float64), residual
    losses = training.losses(rate, 25)
    for step in range(26):
        # The same linear maps in another basis: a thousand rounding errors at a condition number of 20.
        assert torch.allclose(training.after_steps(rate, step), left, atol=1e-11)
        assert losses[step] == pytest.approx(0.5 * float(left.square().sum()), rel=1e-9)
        learned = training.learned(cross, training.after_steps(rate, step))
        assert torch.allclose(learned, features[8:] @ theta, atol=1e-10)
        theta = theta + rate * features[:8].T @ left
        left = residual - features[:8] @ theta


def test_gradient_flow_is_the_matrix_exponential_and_the_limit_of_small_steps():
    kernel, _, residual, _ = problem()
    training = LinearisedTraining(kernel, residual)
    flowed = torch.linalg.matrix_exp(-0.02 * kernel) @ residual
    assert torch.allclose(training.after_time(0.02), flowed, atol=1e-12)
    errors = [float((training.after_steps(0.02 / steps, steps) - flowed).norm()) for steps in (100, 200, 400)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)  # order 1
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.05)


def test_training_to_convergence_interpolates():
    kernel, cross, residual, _ = problem()
    training = LinearisedTraining(kernel, residual)
    expected = cross @ torch.linalg.solve(kernel, residual)
    assert torch.allclose(training.learned(cross, torch.zeros_like(residual)), expected, atol=1e-10)
    assert torch.allclose(training.learned(kernel, torch.zeros_like(residual)), residual, atol=1e-10)


def test_a_singular_kernel_learns_nothing_where_it_vanishes():
    kernel, cross, residual, features = problem(rank=5)  # rank 5 of 8
    training = LinearisedTraining(kernel, residual)
    rate = 0.5 * training.stable_learning_rate
    left = training.after_steps(rate, 100_000)
    null = residual - features[:8] @ torch.linalg.lstsq(features[:8], residual).solution
    assert torch.allclose(left, null, atol=1e-9)
    learned = training.learned(cross, left)
    fitted = features[8:] @ torch.linalg.lstsq(features[:8], residual, driver="gelsd").solution
    assert torch.allclose(learned, fitted, atol=1e-8)
    floor = float(null.square().sum() / residual.square().sum())
    assert training.steps_to(0.5 * floor, rate) == math.inf
    assert training.steps_to(1.1 * floor, rate) < math.inf


@pytest.mark.parametrize("ratio", [0.9, 0.5, 0.1, 1e-4])
def test_steps_to_a_loss_are_the_first_that_reach_it(ratio):
    kernel, _, residual, _ = problem()
    training = LinearisedTraining(kernel, residual)
    rate = 0.5 * training.stable_learning_rate
    step = int(training.steps_to(ratio, rate))
    losses = training.losses(rate, step)
    assert losses[step] <= ratio * losses[0] < losses[step - 1]


def test_the_stable_learning_rate_is_the_edge_of_stability():
    kernel, _, residual, _ = problem()
    training = LinearisedTraining(kernel, residual)
    assert training.losses(0.999 * training.stable_learning_rate, 3000)[-1] < 0.5 * training.loss
    assert training.losses(1.01 * training.stable_learning_rate, 3000)[-1] > training.loss
    with pytest.raises(ValueError, match="2/λ_max"):
        training.steps_to(0.5, 1.01 * training.stable_learning_rate)
    with pytest.raises(ValueError, match=r"ratio=1\.5"):
        training.steps_to(1.5, 1e-3)


def test_a_residual_that_does_not_match_the_kernel_is_refused():
    kernel, _, residual, _ = problem()
    with pytest.raises(ValueError, match="does not match a kernel"):
        LinearisedTraining(kernel, residual[:5])
    with pytest.raises(ValueError, match="not finite"):
        LinearisedTraining(kernel, residual * math.nan)


def test_nngp_posterior_against_the_joint_gaussian():
    kernel, cross, targets, features = problem()
    test_kernel = features[8:] @ features[8:].T
    for noise in (0.0, 0.3):
        posterior = nngp_posterior(kernel, cross, test_kernel.diag(), targets, noise=noise)
        inverse = torch.linalg.inv(kernel + noise * torch.eye(8, dtype=torch.float64))
        covariance = test_kernel - cross @ inverse @ cross.T
        assert torch.allclose(posterior.mean, cross @ inverse @ targets, atol=1e-10)
        assert torch.allclose(posterior.variance, covariance.diag(), atol=1e-9)
    seen = nngp_posterior(kernel, kernel, kernel.diag(), targets)
    assert torch.allclose(seen.mean, targets, atol=1e-10)
    assert float(seen.variance.max()) < 1e-10
    with pytest.raises(ValueError, match="singular at noise=0"):
        nngp_posterior(torch.ones(3, 3), torch.ones(1, 3), torch.ones(1), torch.ones(3, 1))
