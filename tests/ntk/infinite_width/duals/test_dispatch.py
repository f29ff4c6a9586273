"""Dual activations against an independent two-dimensional quadrature, derivatives and limits."""

from functools import partial

import numpy as np
import pytest
import torch

from ntkode import activations
from ntkode.ntk import dual_activation
from ntkode.ntk.infinite_width.duals.closed_form import closed_form
from ntkode.ntk.infinite_width.duals.hermite_series import HermiteSeries
from ntkode.ntk.infinite_width.duals.pair_quadrature import PairQuadrature
from ntkode.ntk.infinite_width.duals.piecewise_linear import PiecewiseLinearDual
from ntkode.ntk.infinite_width.duals.polynomial import Polynomial

PARAMETERISED = {
    "softplus(4)": partial(activations.get, "softplus", beta=4.0),
    "leaky_relu(0.3)": partial(activations.get, "leaky_relu", negative_slope=0.3),
    "celu(0.5)": partial(activations.get, "celu", alpha=0.5),
    "elu(2)": partial(activations.get, "elu", alpha=2.0),
}
EVERY = [*activations.names(), *PARAMETERISED]


def activation_of(label):
    return PARAMETERISED[label]() if label in PARAMETERISED else activations.get(label)


def arguments():
    """Variances, unequal and equal, with correlations of both signs and near and at ±1."""
    va = torch.tensor([0.3, 1.0, 2.7, 0.09, 1.3, 1.3, 1.0, 1.0, 0.6], dtype=torch.float64)
    vb = torch.tensor([0.8, 1.0, 0.4, 2.0, 1.3, 1.3001, 1.0, 1.0, 0.7], dtype=torch.float64)
    rho = torch.tensor([0.5, -0.7, 0.95, -0.2, 0.9999, 0.999, 1.0, -1.0, 0.0], dtype=torch.float64)
    return va, vb, rho * (va * vb).sqrt()


def moments(activation, va, vb, c):
    """E[φ(a)φ(b)] and E[φ'(a)φ'(b)]: φ integrated against b | a, then over a, on fine fixed panels."""
    places = [location for location, _ in activation.profile.breakpoints]
    root, slope, rest = va**0.5, c / va, max(vb - c * c / va, 0.0) ** 0.5
    outer = np.array([p / root for p in places] + [p / slope / root for p in places if slope])
    # The inner integral changes within rest/slope of a breakpoint: panels shrink towards it geometrically.
    grades = np.concatenate([[0.0], np.logspace(-9, 1, 41)])
    around = (outer[:, None] + np.concatenate([-grades, grades])).ravel()
    z, wz = panels(np.linspace(-10, 10, 61), around)
    if rest == 0:
        a = root * z
        return tuple((wz * f(a) * f(slope * a)).sum() for f in functions_of(activation))
    results = np.zeros(2)
    for z_i, w_i in zip(z, wz, strict=True):
        mean = slope * root * z_i
        y, wy = panels(np.linspace(-10, 10, 13), (np.array(places) - mean) / rest)
        for k, f in enumerate(functions_of(activation)):
            results[k] += w_i * f(np.array([root * z_i]))[0] * (wy * f(mean + rest * y)).sum()
    return tuple(results)


def functions_of(activation):
    def of(f):
        return lambda x: f(torch.from_numpy(np.asarray(x))).detach().numpy()

    return of(activation), of(activation.derivative)


def panels(base, breaks):
    unit, weights = np.polynomial.legendre.leggauss(16)
    edges = np.unique(np.concatenate([base, np.clip(breaks, -10, 10)]))
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half * (1 + unit)).ravel()
    return x, (half * weights).ravel() * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("label", EVERY)
def test_dual_equals_resolved_quadrature(label):
    activation = activation_of(label)
    va, vb, c = arguments()
    value, derivative = dual_activation(activation)(va, vb, c)
    expected, expected_derivative = PairQuadrature(activation)(va, vb, c)
    # Quadrature is accurate to 1e-11 if φ is as steep as softplus(4); otherwise both are exact to rounding.
    assert torch.allclose(value, expected, rtol=1e-10, atol=1e-11)
    assert torch.allclose(derivative, expected_derivative, rtol=1e-10, atol=1e-11)


# One activation for each kind of formula, with and without kinks.
@pytest.mark.parametrize("label", ["tanh", "gelu", "relu", "softsign", "cubic", "cos"])
def test_dual_equals_conditional_quadrature(label):
    activation = activation_of(label)
    va, vb, c = (v[[0, 6]] for v in arguments())
    value, derivative = dual_activation(activation)(va, vb, c)
    for k in range(len(c)):
        expected = moments(activation, float(va[k]), float(vb[k]), float(c[k]))
        # With panels graded to 1e-9, a kink causes an error of the order of its square.
        assert (float(value[k]), float(derivative[k])) == pytest.approx(expected, rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("label", EVERY)
def test_derivative_is_that_of_the_value(label):
    va, vb, c = (v[[0, 1, 2, 3]] for v in arguments())
    dual = dual_activation(activation_of(label))
    h = 1e-4
    slope = (dual(va, vb, c + h)[0] - dual(va, vb, c - h)[0]) / (2 * h)
    # Central differences have an error of h²/6·Φ''' plus rounding/h.
    assert torch.allclose(slope, dual(va, vb, c)[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("label", ["relu", "leaky_relu", "relu_squared", "hardtanh", "tanh", "softsign"])
def test_equal_arguments_are_exact(label):
    activation = activation_of(label)
    v = torch.tensor([0.1, 0.7, 1 / 3, 2.3], dtype=torch.float64)
    value, derivative = dual_activation(activation)(v, v, v)
    for k, variance in enumerate(v.tolist()):
        expected = moments(activation, variance, variance, variance)
        # A correlation of 1 with a rounding error would cause 1e-8.
        assert (float(value[k]), float(derivative[k])) == pytest.approx(expected, rel=1e-10, abs=1e-11)


@pytest.mark.parametrize("name", [n for n in activations.names() if closed_form(activations.get(n))])
def test_closed_forms_equal_the_series(name):
    activation = activations.get(name)
    va, vb, c = (v[[0, 1, 3, 8]] for v in arguments())
    for one, two in zip(
        closed_form(activation)(va, vb, c), HermiteSeries(activation, 1e-13)(va, vb, c), strict=True
    ):
        # The coefficients of the series have the rounding error of their quadrature.
        assert torch.allclose(one, two, rtol=1e-11, atol=1e-12)


def test_user_callables_take_the_formula_that_fits():
    assert isinstance(
        dual_activation(activations.from_callable(torch.nn.functional.relu6)), PiecewiseLinearDual
    )
    assert isinstance(dual_activation(activations.from_callable(mixed_polynomial)), Polynomial)
    assert isinstance(dual_activation(activations.from_callable(torch.tanh)), HermiteSeries)


def test_polynomials_of_mixed_degree():
    activation = activations.from_callable(mixed_polynomial)
    va, vb, c = arguments()
    for one, two in zip(
        dual_activation(activation)(va, vb, c), PairQuadrature(activation)(va, vb, c), strict=True
    ):
        # Coefficients of the polynomial are recovered to 1e-13.
        assert torch.allclose(one, two, rtol=1e-11, atol=1e-11)


def test_arguments_broadcast():
    va, vb, c = arguments()
    grid = 0.1 * c[None, :].expand(9, 9)
    for name in ("tanh", "relu", "hardtanh", "cubic", "identity"):
        value, derivative = dual_activation(name)(va[:, None], vb[None, :], grid)
        one, slope = dual_activation(name)(va[2], vb[5], grid[2, 5])
        assert value.shape == derivative.shape == (9, 9)
        # Series are truncated at 1e-12, for the largest correlation in the argument.
        assert float(value[2, 5]) == pytest.approx(float(one), abs=1e-11)
        assert float(derivative[2, 5]) == pytest.approx(float(slope), abs=1e-11)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="tolerance=0"):
        dual_activation("tanh", tolerance=0)
    with pytest.raises(ValueError, match="did you mean"):
        dual_activation("tahn")
    with pytest.raises(ValueError, match="jumps"):
        dual_activation(activations.from_callable(torch.sign))


def mixed_polynomial(x):
    return 0.5 - x + 0.25 * x * x + 0.1 * x * x * x
