"""Distances of kernels from their limits, and the widths that follow."""

import pytest
import torch

from ntkode.advice.width import KernelDistance, WidthNeed, kernel_distance
from ntkode.models import NeuralODE
from ntkode.ntk import empirical_ntk, infinite_width_kernels


def test_the_law_gives_the_width_at_the_distance():
    need = WidthNeed(KernelDistance(100, (0.3, 0.3)), distance=0.2)
    assert need.constant == pytest.approx(3.0)
    assert need.width == 225
    assert need.at(225) == pytest.approx(0.2)
    assert need.caveat == ""


def test_initialisations_that_differ_much_are_flagged():
    need = WidthNeed(KernelDistance(100, (0.1, 0.4)), distance=0.2)
    assert need.measured.mean == pytest.approx((0.17 / 2) ** 0.5)
    assert "0.10 to 0.40 at n = 100" in need.caveat


def networks(x, outputs, width, seeds):
    made = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        made.append(NeuralODE(x.shape[1], width, outputs, activation="tanh").double())
    return made


@pytest.fixture
def x():
    inputs = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return inputs / inputs.norm(dim=1, keepdim=True) * 5**0.5


def test_the_distance_is_that_of_all_outputs(x):
    limit = infinite_width_kernels(x, activation="tanh").ntk
    (model,) = networks(x, 3, 32, 1)
    kernel = empirical_ntk(model, x, outputs="full")
    target = torch.zeros_like(kernel)
    for i in range(6):
        for j in range(6):
            for c in range(3):
                target[3 * i + c, 3 * j + c] = limit[i, j]
    expected = float((kernel - target).norm() / target.norm())
    assert kernel_distance([model], 32, x, limit).mean == pytest.approx(expected)


def test_it_falls_as_one_over_the_root_of_the_width_and_grows_with_the_outputs(x):
    limit = infinite_width_kernels(x, activation="tanh").ntk
    c = {
        (k, n): kernel_distance(networks(x, k, n, 12), n, x, limit).mean * n**0.5
        for k, n in ((1, 64), (8, 64), (8, 512))
    }
    # Twelve initialisations determine a mean square to about 40 %, its root to 20 %.
    assert c[8, 512] == pytest.approx(c[8, 64], rel=0.25)
    assert c[8, 64] > 1.5 * c[1, 64]
