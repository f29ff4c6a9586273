from typing import Any

import numpy as np
import pytest
import torch

from ntkode.data import Sine, Sphere, Spirals
from ntkode.data.sources import random_generator
from ntkode.ntk import infinite_width_kernels, spectrum


def test_sphere(common: dict[str, Any]) -> None:
    data = Sphere(**(common | {"n_train": 4000}), dimension=5, dtype="float64", norm=None)
    data.setup()
    assert (data.task, data.in_features, data.out_features) == ("regression", 5, 1)
    x, y = data.train.x, data.train.y
    torch.testing.assert_close(x.norm(dim=1), torch.ones(4000).double(), rtol=1e-14, atol=0)
    # Uniform: mean 0 and second moments I/5, each within 5 standard errors (√(1/5/4000) and √(0.07/4000)).
    assert x.mean(dim=0).abs().max() < 5 * 0.0071
    assert (x.T @ x / 4000 - torch.eye(5) / 5).abs().max() < 5 * 0.0042
    assert set(y.flatten().tolist()) == {-1.0, 1.0}
    assert y.mean().abs() < 5 / np.sqrt(4000)


def test_sphere_is_scaled_to_sqrt_d_by_default(common: dict[str, Any]) -> None:
    data = Sphere(**common, dtype="float64")
    data.setup()
    torch.testing.assert_close(data.test.x.square().mean(dim=1), torch.ones(40).double(), rtol=1e-14, atol=0)


@pytest.mark.parametrize("n", [40, 41])
def test_antipodal_sphere(common: dict[str, Any], n: int) -> None:
    data = Sphere(**(common | {"n_train": n}), antipodal=True, dtype="float64")
    data.setup()
    x, y = data.train.x, data.train.y
    partners = ((x[:, None] + x[None]).norm(dim=2) == 0).sum(dim=1)
    assert sorted(partners.tolist()) == [0] * (n % 2) + [1] * (n - n % 2)
    assert data.description["antipodal_pairs"]["pairs"] == n // 2
    assert data.description["duplicates"]["pairs"] == 0
    # Independent labels: an odd function cannot fit all of them.
    i, j = data.description["antipodal_pairs"]["first"][0]
    assert torch.equal(x[i], -x[j])
    opposite = (x[:, None] + x[None]).norm(dim=2) == 0
    assert (y * (opposite.double() @ y) == 1).any()


def test_an_odd_activation_is_singular_on_antipodal_data(common: dict[str, Any]) -> None:
    data = Sphere(**(common | {"n_train": 30}), antipodal=True, dtype="float64")
    data.setup()
    smallest = {}
    for activation in ("tanh", "softplus"):
        kernel = infinite_width_kernels(data.train.x, activation=activation).ntk
        smallest[activation] = spectrum(kernel)
    assert smallest["tanh"].lambda_min < 1e-9 * smallest["tanh"].lambda_max
    assert smallest["softplus"].lambda_min > 1e-6 * smallest["softplus"].lambda_max


def test_spirals(common: dict[str, Any]) -> None:
    data = Spirals(**common, turns=1.5, noise=0.0, dtype="float64")
    data.setup()
    assert (data.task, data.in_features, data.out_features) == ("classification", 3, 2)
    assert data.train.labels is not None
    assert data.train.labels.bincount().tolist() == [30, 30]
    first, second, one = data.train.x.T
    assert (one == 1).all()
    radius = torch.hypot(first, second)
    assert radius.max() <= 1
    # Turned back by the angle of the arm, every point lies on the positive axis.
    angle = 2 * torch.pi * 1.5 * radius + torch.pi * data.train.labels.double()
    torch.testing.assert_close(torch.cos(angle) * radius, first, rtol=0, atol=1e-13)
    torch.testing.assert_close(torch.sin(angle) * radius, second, rtol=0, atol=1e-13)


def test_noise_of_the_spirals(common: dict[str, Any]) -> None:
    keys = common | {"n_train": 2000, "dtype": "float64"}
    quiet, noisy = Spirals(**keys, noise=0.0), Spirals(**keys, noise=0.1)
    quiet.setup()
    noisy.setup()
    moved = (noisy.train.x - quiet.train.x)[:, :2]
    assert abs(moved.std() - 0.1) < 5 * 0.1 / np.sqrt(2 * 4000)  # 5 standard errors of a standard deviation
    assert (noisy.train.x[:, 2] == 1).all()


def test_sine(common: dict[str, Any]) -> None:
    data = Sine(**common, frequency=2.0, dtype="float64")
    data.setup()
    assert (data.task, data.in_features, data.out_features) == ("regression", 2, 1)
    x, one = data.train.x.T
    assert (one == 1).all()
    assert x.min() < -0.8
    assert x.max() > 0.8
    torch.testing.assert_close(data.train.y[:, 0], torch.sin(4 * torch.pi * x), rtol=0, atol=1e-14)


def test_noise_of_the_sine(common: dict[str, Any]) -> None:
    data = Sine(**(common | {"n_train": 4000}), noise=0.3, dtype="float64")
    data.setup()
    residual = data.train.y[:, 0] - torch.sin(2 * torch.pi * data.train.x[:, 0])
    assert abs(residual.std() - 0.3) < 5 * 0.3 / np.sqrt(2 * 4000)


def test_every_purpose_has_independent_random_numbers() -> None:
    drawn = {
        random_generator(seed, purpose).random() for seed in (0, 1, 97) for purpose in ("", "a", "b", "aa")
    }
    assert len(drawn) == 12
