"""Models, gradients and kernels on the device against the same computation on the CPU, in float64.

Both sum the same products in another order: rounding of 1e-16, through a few hundred operations.
"""

import copy

import pytest
import torch

from ntkode.gradients import Objective, allocated_peak, gradient_error, loss_gradient
from ntkode.integrate import Adjoint, Backprop, Checkpointed, KinkAveraged, Reversible, Solver
from ntkode.losses import SquaredError
from ntkode.models import MLPODE, AugmentedODE, ConvODE, NeuralODE, ResNet, TimeDependentODE
from ntkode.ntk import (
    empirical_ntk,
    infinite_width_kernels,
    kernel_operator,
    lanczos,
    measure_ntk,
    spectrum,
)
from ntkode.ntk.empirical.precision import free_bytes
from ntkode.ntk.infinite_width.time_rules import RungeKutta

CLOSE = 1e-10
RK4 = Solver("rk4", steps=8)
MODELS = {
    "neural_ode": NeuralODE,
    "resnet": lambda *sizes, solver, **options: ResNet(*sizes, depth=8, **options),
    "mlp_ode": MLPODE,
    "augmented_ode": AugmentedODE,
    "time_dependent_ode": TimeDependentODE,
    "conv_ode": lambda *sizes, **options: ConvODE(*sizes, image_shape=(1, 2, 3), patch=1, **options),
}
GRADIENTS = {
    "backprop": (Backprop(), RK4, "tanh"),
    "checkpointed": (Checkpointed(), RK4, "tanh"),
    "reversible": (Reversible(), RK4, "tanh"),
    "adjoint": (Adjoint(backward=None), RK4, "tanh"),
    "kink_averaged": (KinkAveraged(), RK4, "relu"),
    "adaptive": (Adjoint(backward=None), Solver("dopri5", rtol=1e-8, atol=1e-8), "tanh"),
}
METHODS = ("auto", "pairs", "build", "compressed", "jacobian")


def make(name="neural_ode", *, solver=RK4, activation="tanh", width=12, outputs=3, **options):
    torch.manual_seed(0)
    return MODELS[name](6, width, outputs, activation=activation, solver=solver, **options).double()


def samples(rows=9, columns=6):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def close(values, reference, tolerance=CLOSE):
    assert values.dtype == reference.dtype
    difference = values.detach().cpu() - reference.detach()
    assert float(difference.norm()) <= tolerance * float(reference.detach().norm())


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients_of_every_model(device, deterministic, name):
    model, x, y = make(name), samples(), samples(columns=3)
    moved = copy.deepcopy(model).to(device)
    close(moved(x.to(device)), model(x))
    expected = loss_gradient(model, Objective(SquaredError(), x, y))
    gradient = loss_gradient(moved, Objective(SquaredError(), x.to(device), y.to(device)))
    for parameter, derivative in gradient.items():
        assert derivative.device.type == device.type
        close(derivative, expected[parameter])


@pytest.mark.parametrize("method", GRADIENTS)
def test_every_gradient_method(device, deterministic, method):
    gradient, solver, activation = GRADIENTS[method]
    model = make(solver=solver, activation=activation, gradient=gradient)
    x, y = samples(), samples(columns=3)
    expected = loss_gradient(model, Objective(SquaredError(), x, y))
    objective = Objective(SquaredError(), x.to(device), y.to(device))
    computed = loss_gradient(model.to(device), objective)
    for parameter, derivative in computed.items():
        # The steps of an adaptive solver depend on rounding: its tolerance counts.
        close(derivative, expected[parameter], 1e-5 if method == "adaptive" else CLOSE)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_error_of_a_gradient(device, activation):
    model, x, y = make(activation=activation), samples(), samples(columns=3)
    expected = gradient_error(model, x, y)
    computed = gradient_error(model.to(device), x.to(device), y.to(device))
    for deviation in ("continuous", "discrete"):
        value, reference = (getattr(errors, deviation).relative_error for errors in (computed, expected))
        assert value == pytest.approx(reference, rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("outputs", ["trace", "full"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_kernels_by_every_method(device, deterministic, name, method, outputs):
    model, x = make(name), samples()
    expected = empirical_ntk(model, x, method=method, outputs=outputs)
    kernel = empirical_ntk(model.to(device), x.to(device), method=method, outputs=outputs)
    assert kernel.device.type == device.type
    close(kernel, expected)


def test_a_kernel_of_a_float32_model(device):
    model, x = make(width=64).float(), samples(24).float()
    expected = measure_ntk(copy.deepcopy(model).double(), x.double(), dtype=torch.float64).kernel
    kernel = measure_ntk(model.to(device), x.to(device)).kernel
    assert kernel.dtype == torch.float64
    close(kernel, expected, 1e-5)  # float32 solve, float64 products: a hundred roundings of 6e-8


def test_a_kernel_ignores_the_precision_that_the_caller_allows(device, rounded_products):
    model, x = make("conv_ode", width=8).float().to(device), samples().float().to(device)
    with rounded_products():
        rounded = measure_ntk(model, x).kernel
        operator = kernel_operator(model, x, max_bytes=0)  # products by autograd
        product = operator(samples(columns=3).float().to(device))
    close(rounded, measure_ntk(model, x).kernel.cpu(), 0.0)
    close(product, kernel_operator(model, x, max_bytes=0)(samples(columns=3).float().to(device)).cpu(), 0.0)


def test_a_spectrum(device):
    kernel = empirical_ntk(make(width=64), samples())
    expected, computed = spectrum(kernel), spectrum(kernel.to(device))
    assert computed.lambda_min == pytest.approx(expected.lambda_min, rel=1e-9)
    assert computed.lambda_max == pytest.approx(expected.lambda_max, rel=1e-12)


def test_an_operator_and_its_extreme_eigenvalues(device, deterministic):
    model, x = make(), samples()
    kernel = empirical_ntk(model, x, outputs="full")
    vector = samples(columns=3)
    operator = kernel_operator(model.to(device), x.to(device))
    close(operator(vector.to(device)), (kernel @ vector.flatten()).reshape(vector.shape))
    spectral = lanczos(operator, vector.to(device), iterations=vector.numel())
    assert spectral.lambda_max == pytest.approx(spectrum(kernel).lambda_max, rel=1e-9)
    assert operator.trace(probes=64).value == pytest.approx(float(kernel.trace()), rel=0.2)


@pytest.mark.parametrize(
    "network", [{}, {"depth": 8}, {"tableau": RungeKutta.of(RK4)}], ids=["flow", "depth", "rk4"]
)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_infinite_width_kernels(device, deterministic, activation, network):
    x = samples()
    expected = infinite_width_kernels(x, activation=activation, **network)
    computed = infinite_width_kernels(x.to(device), activation=activation, **network)
    close(computed.ntk, expected.ntk)
    close(computed.nngp, expected.nngp)


def test_a_kernel_takes_a_quarter_of_the_free_memory_at_most(device):
    model, x = make(width=256, outputs=1).to(device), samples(512).to(device)
    budget = free_bytes(device) // 4
    assert budget > 0
    assert allocated_peak(lambda: empirical_ntk(model, x), device) <= budget
