"""Every registered φ against its published formula; φ' against autograd and finite differences."""

import math

import numpy as np
import pytest
import torch
from scipy import special
from torch.autograd import forward_ad

from ntkode import activations

NAMES = activations.names()
ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805  # of selu
FORMULAS = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "relu_squared": lambda x: np.maximum(x, 0) ** 2,
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: SCALE * np.where(x > 0, x, ALPHA * np.expm1(x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "squareplus": lambda x: (x + np.sqrt(x**2 + 4)) / 2,
    "gelu": lambda x: x * special.ndtr(x),
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * special.expit(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "tanh": np.tanh,
    "sigmoid": special.expit,
    "erf": special.erf,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "sin": np.sin,
    "cos": np.cos,
    "gaussian": lambda x: np.exp(-(x**2) / 2),
    "quadratic": lambda x: x**2,
    "cubic": lambda x: x**3,
}
# Away from every kink (0, ±1, ±3, 6) by at least 0.01, so that differences do not straddle one.
POINTS = torch.linspace(-9.87, 9.91, 101, dtype=torch.float64)


def autograd_derivative(function, x, order=1):
    x = x.clone().requires_grad_()
    y = function(x)
    for _ in range(order):
        if not y.requires_grad:
            return torch.zeros_like(x)
        (y,) = torch.autograd.grad(y.sum(), x, create_graph=True, materialize_grads=True)
    return y.detach()


def test_every_activation_has_a_formula_here():
    assert set(NAMES) == set(FORMULAS)


@pytest.mark.parametrize("name", NAMES)
def test_value_is_the_formula(name):
    x = torch.cat(
        [POINTS, torch.tensor([-45.0, -40.5, -20.5, 20.5, 40.5, 45.0, 0.0, 1e-8], dtype=torch.float64)]
    )
    expected = torch.from_numpy(FORMULAS[name](x.numpy()))
    # Rounding of the formulas: squareplus at −45 cancels to 45·eps.
    torch.testing.assert_close(activations.get(name)(x), expected, rtol=1e-13, atol=2e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kinks", [False, True])
def test_derivative_is_autograd(name, kinks):
    activation = activations.get(name)
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0, 6.0], dtype=torch.float64) if kinks else POINTS
    expected = autograd_derivative(activation.function, x)
    # Two evaluations of one formula; 3x² at 10 is 300, hence the relative tolerance.
    torch.testing.assert_close(activation.derivative(x), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_to_third_order_are_finite_differences(name):
    function, step = activations.get(name).function, 1e-4
    for order in (1, 2, 3):
        before, after = (autograd_derivative(function, POINTS + s * step, order - 1) for s in (-1, 1))
        difference = (after - before) / (2 * step)
        # Central differences: truncation h²/6·|φ⁽ᵏ⁺²⁾| ≤ 1e-7 here, rounding 1e-16·|φ|/h ≤ 1e-9.
        torch.testing.assert_close(
            autograd_derivative(function, POINTS, order), difference, rtol=1e-7, atol=2e-7
        )


@pytest.mark.parametrize("beta", [0.5, 4.0])
def test_softplus_is_exact_where_torch_would_switch_to_linear(beta):
    x = torch.linspace(15, 60, 91, dtype=torch.float64) / beta
    softplus = activations.get("softplus", beta=beta)
    sigmoid = torch.from_numpy(special.expit(beta * x.numpy()))
    curvature = beta * sigmoid * torch.from_numpy(special.expit(-beta * x.numpy()))
    # The linear continuation from beta·x = 40 on leaves e⁻⁴⁰ = 4e-18; torch's default would leave 2e-9.
    for derivative in (softplus.derivative(x), autograd_derivative(softplus.function, x)):
        torch.testing.assert_close(derivative, sigmoid, rtol=0, atol=1e-15)
    torch.testing.assert_close(autograd_derivative(softplus.function, x, 2), curvature, rtol=0, atol=1e-15)


PARAMETERS = [("leaky_relu", "negative_slope", 0.2), ("elu", "alpha", 0.7), ("celu", "alpha", 0.7)]
PARAMETERS += [("softplus", "beta", 4.0), ("squareplus", "b", 1.0)]


@pytest.mark.parametrize(("name", "key", "value"), PARAMETERS)
def test_parameters_reach_value_and_derivative(name, key, value):
    activation, default = activations.get(name, **{key: value}), activations.get(name)
    expected = {
        "leaky_relu": lambda x: np.where(x > 0, x, value * x),
        "elu": lambda x: np.where(x > 0, x, value * np.expm1(x)),
        "celu": lambda x: np.where(x > 0, x, value * np.expm1(x / value)),
        "softplus": lambda x: np.logaddexp(value * x, 0) / value,
        "squareplus": lambda x: (x + np.sqrt(x**2 + value)) / 2,
    }[name](POINTS.numpy())
    torch.testing.assert_close(activation(POINTS), torch.from_numpy(expected), rtol=1e-13, atol=1e-14)
    expected_derivative = autograd_derivative(activation.function, POINTS)
    torch.testing.assert_close(activation.derivative(POINTS), expected_derivative, rtol=1e-13, atol=1e-13)
    assert not torch.allclose(activation(POINTS), default(POINTS))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_shape_and_dtype_are_kept(name, dtype):
    activation = activations.get(name)
    for shape in ((), (3,), (2, 3, 4), (0, 5)):
        x = torch.full(shape, 0.3, dtype=dtype)
        for y in (activation(x), activation.derivative(x)):
            assert y.shape == x.shape
            assert y.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_finite_far_out(name, dtype):
    x = torch.tensor([-1e4, -700.0, -90.0, -30.0, 30.0, 90.0, 700.0, 1e4], dtype=dtype)
    activation = activations.get(name)
    for order in range(3):
        assert torch.isfinite(autograd_derivative(activation.function, x, order)).all()
    assert torch.isfinite(activation.derivative(x)).all()


@pytest.mark.parametrize("name", NAMES)
def test_function_transforms(name):
    activation = activations.get(name)
    x, tangent = POINTS, torch.linspace(-1, 2, POINTS.numel(), dtype=torch.float64)
    slope = autograd_derivative(activation.function, x)
    curvature = autograd_derivative(activation.function, x, 2)
    close = {"rtol": 1e-12, "atol": 1e-12}  # rounding only

    torch.testing.assert_close(torch.func.jvp(activation, (x,), (tangent,))[1], slope * tangent, **close)
    with forward_ad.dual_level():
        dual = activation(forward_ad.make_dual(x, tangent))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, slope * tangent, **close)
    torch.testing.assert_close(torch.func.vmap(activation)(x), activation(x), **close)
    torch.testing.assert_close(torch.func.vmap(activation.derivative)(x), slope, **close)
    forward_over_reverse = torch.func.jvp(torch.func.grad(lambda z: activation(z).sum()), (x,), (tangent,))[1]
    torch.testing.assert_close(forward_over_reverse, curvature * tangent, **close)
    torch.testing.assert_close(
        torch.func.jvp(activation.derivative, (x,), (tangent,))[1], curvature * tangent, **close
    )
    torch.testing.assert_close(autograd_derivative(activation.derivative, x), curvature, **close)


@pytest.mark.parametrize("name", NAMES)
def test_derivative_without_gradients_keeps_no_graph(name):
    with torch.no_grad():
        assert not activations.get(name).derivative(torch.ones(3, requires_grad=True)).requires_grad
    with torch.inference_mode():
        assert math.isfinite(float(activations.get(name).derivative(torch.ones(3)).sum()))
