import pytest
import torch

from ntkode.integrate import Solver
from ntkode.models import NeuralODE
from ntkode.ntk import empirical_ntk, kernel_operator, lanczos


def test_lanczos_gives_moments_and_extreme_eigenvalue():
    torch.manual_seed(0)
    model = NeuralODE(5, 12, 3, activation="tanh", solver=Solver("rk4", steps=4)).double()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    v = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    kernel = empirical_ntk(model, x, outputs="full")
    measure = lanczos(kernel_operator(model, x), v, iterations=10)
    start = v.flatten() / v.norm()
    assert float(measure.weights.sum()) == pytest.approx(1)
    image = start
    for power in range(1, 8):
        image = kernel @ image
        moment = float((measure.weights * measure.ritz_values**power).sum())
        # Gauss quadrature with 10 nodes is exact up to degree 19.
        assert moment == pytest.approx(float(start @ image), rel=1e-9)
    assert measure.lambda_max == pytest.approx(float(torch.linalg.eigvalsh(kernel)[-1]), rel=1e-6)


def test_lanczos_ends_when_the_krylov_space_does():
    matrix = torch.diag(torch.tensor([1.0, 1.0, 3.0, 3.0], dtype=torch.float64))
    measure = lanczos(lambda v: matrix @ v, torch.ones(4), iterations=30)
    assert measure.ritz_values.tolist() == pytest.approx([1, 3])
    assert measure.weights.tolist() == pytest.approx([0.5, 0.5])


def test_zero_start_and_infinite_products_are_refused():
    with pytest.raises(ValueError, match="residual is zero"):
        lanczos(lambda v: v, torch.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        lanczos(lambda v: v * float("inf"), torch.ones(3))
