import pytest
import torch

from ntkode.integrate import Solver
from ntkode.models import MLPODE, NeuralODE
from ntkode.ntk import KernelOperator, empirical_ntk, lanczos


@pytest.fixture(params=["neural_ode", "mlp_ode"])
def model(request):
    torch.manual_seed(0)
    kind = {"neural_ode": NeuralODE, "mlp_ode": MLPODE}[request.param]
    return kind(5, 12, 3, activation="tanh", solver=Solver("rk4", steps=4)).double()


def problem(rows=7):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 5, generator=generator, dtype=torch.float64)
    return x, torch.randn(rows, 3, generator=generator, dtype=torch.float64)


def test_product_equals_the_full_kernel_times_the_vector(model):
    x, v = problem()
    operator = KernelOperator(model, x)
    kernel = empirical_ntk(model, x, outputs="full")
    expected = (kernel @ v.flatten()).reshape(7, 3)
    # The same sums in another order.
    assert torch.allclose(operator(v), expected, rtol=1e-11, atol=1e-11 * float(expected.abs().max()))


def test_operator_keeps_the_parameters_of_its_making(model):
    x, v = problem()
    operator = KernelOperator(model, x)
    before = operator(v)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert torch.equal(operator(v), before)


def test_float32_model_gives_products_to_single_precision(model):
    x, v = problem()
    exact = KernelOperator(model, x)(v)
    single = KernelOperator(model.float(), x.float())(v)
    assert single.dtype == torch.float64
    assert torch.allclose(single, exact, rtol=1e-3, atol=1e-5 * float(exact.abs().max()))


def test_lanczos_gives_moments_and_extreme_eigenvalue(model):
    x, v = problem()
    kernel = empirical_ntk(model, x, outputs="full")
    measure = lanczos(KernelOperator(model, x), v, iterations=10)
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
