import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import nn

from ntkode.integrate import Solver
from ntkode.models import MLPODE, NeuralODE
from ntkode.ntk import AutogradOperator, FactoredOperator, KernelOperator, empirical_ntk, kernel_operator
from ntkode.ntk.empirical import factors
from ntkode.ntk.empirical import operator as operator_module

TINY = 1_000  # bytes: nothing fits, so that products go through autograd


class Gated(nn.Module):
    """Model with an elementwise parameter, a convolution and biases."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.randn(5))
        self.convolution = nn.Conv1d(1, 4, 3, padding=1)
        self.head = nn.Linear(20, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.convolution((x * self.gate)[:, None])).flatten(1))


MODELS = {
    "neural_ode": lambda: NeuralODE(5, 12, 3, activation="tanh", solver=Solver("rk4", steps=4)),
    "mlp_ode": lambda: MLPODE(5, 12, 3, activation="tanh", solver=Solver("rk4", steps=4)),
    "gated": Gated,
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]().double()


def problem(rows=7):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 5, generator=generator, dtype=torch.float64)
    return x, torch.randn(rows, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("max_bytes", "kind"), [(None, FactoredOperator), (TINY, AutogradOperator)])
def test_product_equals_the_full_kernel_times_the_vector(model, max_bytes, kind):
    x, v = problem()
    operator = kernel_operator(model, x, max_bytes=max_bytes)
    assert type(operator) is kind
    kernel = empirical_ntk(model, x, outputs="full")
    expected = (kernel @ v.flatten()).reshape(7, 3)
    # The same sums in another order.
    assert torch.allclose(operator(v), expected, rtol=1e-11, atol=1e-11 * float(expected.abs().max()))


def test_many_rows_are_recorded_in_chunks_and_compressed():
    torch.manual_seed(0)
    model = NeuralODE(5, 32, 3, activation="tanh", solver=Solver("rk4", steps=10)).double()
    x, v = problem(300)
    held, passes = (kernel_operator(model, x, max_bytes=b) for b in (None, TINY))
    assert torch.allclose(held(v), passes(v), rtol=1e-10, atol=1e-10 * float(passes(v).abs().max()))


@pytest.mark.parametrize("max_bytes", [None, TINY])
def test_operator_keeps_its_initial_parameters(model, max_bytes):
    x, v = problem()
    operator = kernel_operator(model, x, max_bytes=max_bytes)
    before = operator(v)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert torch.equal(operator(v), before)


@pytest.mark.parametrize("max_bytes", [None, TINY])
def test_float32_model_gives_products_to_single_precision(model, max_bytes):
    x, v = problem()
    exact = kernel_operator(model, x)(v)
    single = kernel_operator(model.float(), x, max_bytes=max_bytes)(v)
    assert single.dtype == torch.float64
    assert torch.allclose(single, exact, rtol=1e-3, atol=1e-5 * float(exact.abs().max()))


def test_frozen_parameters_have_no_share(model):
    x, v = problem()
    next(model.parameters()).requires_grad_(False)
    kernel = empirical_ntk(model, x, outputs="full")
    for max_bytes in (None, TINY):
        product = kernel_operator(model, x, max_bytes=max_bytes)(v).flatten()
        assert torch.allclose(product, kernel @ v.flatten(), rtol=1e-11, atol=1e-11)


def test_a_model_that_cannot_be_recorded_uses_autograd():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3)).double()
    x, v = problem()
    operator = kernel_operator(model, x)
    assert type(operator) is AutogradOperator
    expected = empirical_ntk(model, x, outputs="full") @ v.flatten()
    assert torch.allclose(operator(v).flatten(), expected, rtol=1e-11, atol=1e-11)


def test_largest_eigenvalue_and_trace(model):
    x, _ = problem()
    kernel, operator = empirical_ntk(model, x, outputs="full"), kernel_operator(model, x)
    exact = float(torch.linalg.eigvalsh(kernel)[-1])
    assert operator.lambda_max() == pytest.approx(exact, rel=1e-9)  # 21 steps in 21 dimensions
    estimate = operator.trace(probes=64)
    # Within five standard errors, estimated from the spread of the probes.
    assert abs(estimate.value - float(kernel.trace())) < 5 * estimate.standard_error
    assert estimate.standard_error < 0.2 * float(kernel.trace())
    with pytest.raises(ValueError, match="probes=1"):
        operator.trace(probes=1)


@pytest.mark.parametrize("max_bytes", [None, TINY])
def test_one_row_one_output_and_a_vector_in_single_precision(max_bytes):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x, v = torch.randn(1, 5, dtype=torch.float64), torch.ones(1, 1)
    product = kernel_operator(model, x, max_bytes=max_bytes)(v)
    assert (product.shape, product.dtype) == ((1, 1), torch.float64)
    assert float(product) == pytest.approx(float(empirical_ntk(model, x)), rel=1e-12)


class Matrix(KernelOperator):
    """An operator of a known matrix."""

    device = torch.device("cpu")

    def __init__(self, matrix, samples, outputs):
        self.matrix, self.samples, self.outputs = matrix, samples, outputs

    def __call__(self, vector):
        return (self.matrix @ vector.flatten()).view(self.samples, self.outputs)


def test_random_signs_know_the_trace_of_a_diagonal_kernel_without_error():
    diagonal = torch.linspace(1, 5, 12, dtype=torch.float64)
    estimate = Matrix(diagonal.diag(), 4, 3).trace(probes=2)
    assert estimate.value == pytest.approx(float(diagonal.sum()), rel=1e-14)
    assert estimate.standard_error < 1e-13


def test_the_standard_error_of_a_trace_is_that_of_its_mean():
    root = torch.randn(12, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    kernel, probes = root @ root.T, 400
    estimate = Matrix(kernel, 4, 3).trace(probes=probes)
    # Hutchinson: the variance of one probe is twice the squares beside the diagonal.
    variance = 2 * float(kernel.square().sum() - kernel.diagonal().square().sum())
    # The spread of 400 probes knows it to some five percent.
    assert estimate.standard_error == pytest.approx((variance / probes) ** 0.5, rel=0.2)
    assert abs(estimate.value - float(kernel.trace())) < 4 * estimate.standard_error


def test_random_vectors_depend_on_the_seed_alone():
    root = torch.randn(12, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    operator, state = Matrix(root @ root.T, 4, 3), torch.get_rng_state()
    for estimate in (operator.trace, lambda **o: operator.lambda_max(iterations=2, **o)):
        assert estimate(seed=3) == estimate(seed=3) != estimate(seed=40)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("max_bytes", [None, TINY])
def test_an_unused_parameter_has_no_share(max_bytes):
    torch.manual_seed(0)
    model = nn.Linear(5, 3, bias=False).double()
    x, v = problem()
    expected = kernel_operator(model, x)(v)
    model.register_parameter("spare", nn.Parameter(torch.ones(4, dtype=torch.float64)))
    assert torch.allclose(kernel_operator(model, x, max_bytes=max_bytes)(v), expected, rtol=1e-12)


def test_derivatives_are_stored_if_twice_their_size_fits(monkeypatch):
    torch.manual_seed(0)
    model, (x, _) = nn.Linear(5, 3, bias=False).double(), problem()
    # An input and a cotangent for each output, and half as much again for float32 copies.
    needed = 2 * 8 * 7 * 3 * (5 + 3 * 3) // 2
    for max_bytes, kind in ((needed, FactoredOperator), (needed - 1, AutogradOperator)):
        assert type(kernel_operator(model, x, max_bytes=max_bytes)) is kind
        # By default: a quarter of the free memory.
        monkeypatch.setattr(operator_module, "free_bytes", lambda device, free=4 * max_bytes + 3: free)
        assert type(kernel_operator(model, x)) is kind


def test_samples_that_a_basis_does_not_span_are_stored_without_compression(monkeypatch):
    monkeypatch.setattr(factors, "CHUNK", 4)
    model = NeuralODE(5, 12, 3, activation="relu", solver=Solver("euler", steps=4)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    x, v = problem()
    x = (
        x.abs() * torch.tensor([-1.0] * 4 + [1.0] * 3, dtype=x.dtype)[:, None]
    )  # relu is off on the first ones
    operator = kernel_operator(model, x)
    assert type(operator) is FactoredOperator
    expected = empirical_ntk(model, x, outputs="full", method="jacobian") @ v.flatten()
    assert torch.allclose(
        operator(v).flatten(), expected, rtol=1e-11, atol=1e-11 * float(expected.abs().max())
    )


def test_stored_calls_are_compressed_to_the_tolerance():
    torch.manual_seed(0)
    model = NeuralODE(5, 32, 3, activation="tanh", solver=Solver("rk4", steps=10)).double()
    x, v = problem(20)
    exact, rough = kernel_operator(model, x)(v), kernel_operator(model, x, tolerance=1e-3)(v)
    assert 1e-7 < float((rough - exact).norm() / exact.norm()) < 2e-3


def test_a_product_by_autograd_reads_the_parameters_once():
    torch.manual_seed(0)
    model, (x, v) = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double(), problem()
    operator = AutogradOperator(model, x)
    before = operator(v)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert torch.equal(operator(v), before)
    assert not before.requires_grad


@pytest.mark.parametrize("max_bytes", [None, TINY])
def test_a_float32_model_is_solved_in_the_precision_that_is_asked_for(model, max_bytes):
    x, v = problem()
    single = model.float()
    product = kernel_operator(single, x.float(), dtype=torch.float64, max_bytes=max_bytes)(v)
    expected = empirical_ntk(single.double(), x.float().double(), outputs="full") @ v.flatten()
    assert torch.allclose(product.flatten(), expected, rtol=1e-11, atol=1e-11 * float(expected.abs().max()))


def test_scipy_accepts_the_operator(model):
    x, v = problem()
    kernel = empirical_ntk(model, x, outputs="full").numpy()
    operator = kernel_operator(model, x).linear_operator()
    assert operator.shape == kernel.shape
    for product in (operator.matvec, operator.rmatvec):
        assert np.allclose(product(v.flatten().numpy()), kernel @ v.flatten().numpy(), rtol=1e-11)
    largest = eigsh(operator, k=1, which="LA", return_eigenvectors=False)
    assert largest[0] == pytest.approx(np.linalg.eigvalsh(kernel)[-1], rel=1e-9)


@pytest.mark.parametrize("max_bytes", [None, TINY])
def test_a_model_that_changes_its_input_in_place_leaves_the_callers_alone(max_bytes):
    torch.manual_seed(0)
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3)).double()
    x, v = problem()
    before = x.clone()
    operator = kernel_operator(model, x, max_bytes=max_bytes)
    product, again = operator(v), operator(v)
    assert torch.equal(x, before)
    assert torch.equal(product, again)
    expected = empirical_ntk(model, x, outputs="full") @ v.flatten()
    assert torch.allclose(product.flatten(), expected, rtol=1e-11, atol=1e-11)
