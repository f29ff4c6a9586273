"""The computed profile against known values."""

import math
import time
from functools import partial

import numpy as np
import pytest
import torch
from scipy import special
from torch.nn import functional

from ntkode import activations
from ntkode.activations.hermite import gaussian_quadrature, hermite_functions
from ntkode.activations.profile import compute_profile

INF = math.inf
SELU = 1.0507009873554805, 1.6732632423543772


def profile(name, **parameters):
    return activations.get(name, **parameters).profile


BREAKPOINTS = {
    "relu": ((0.0, 1),),
    "leaky_relu": ((0.0, 1),),
    "relu6": ((0.0, 1), (6.0, 1)),
    "relu_squared": ((0.0, 2),),
    "elu": ((0.0, 2),),
    "celu": ((0.0, 2),),
    "selu": ((0.0, 1),),
    "softsign": ((0.0, 2),),
    "hardtanh": ((-1.0, 1), (1.0, 1)),
    "hard_sigmoid": ((-3.0, 1), (3.0, 1)),
}


@pytest.mark.parametrize("name", activations.names())
def test_breakpoints_and_class(name):
    computed, expected = profile(name), BREAKPOINTS.get(name, ())
    assert computed.breakpoints == expected
    first = min((order for _, order in expected), default=INF)
    assert computed.smoothness == first - 1
    assert computed.smoothness_class == ("C^inf" if first == INF else f"C^{first - 1}")
    assert computed.kinks == tuple(place for place, order in expected if order == 1)


# sup|φ'|, sup|φ''|, sup|φ'''|, sup|φ''''|. The derivatives of the logistic function s are polynomials in
# it: s' ≤ 1/4, s'' ≤ 1/(6√3), s''' ≤ 1/8, and s'''' = s(1−s)(1−2s)(1−12s+12s²) peaks
# where 1 − 2s is the root below.
ROOT = math.sqrt((15 - math.sqrt(105)) / 30)
LOGISTIC = (1 / 4, 1 / (6 * math.sqrt(3)), 1 / 8, (1 - ROOT**2) / 4 * ROOT * (2 - 3 * ROOT**2))
BETA = 4.0
BOUNDS = [
    ("identity", {}, (1, 0, 0, 0)),
    ("relu", {}, (1, INF, INF, INF)),
    ("leaky_relu", {"negative_slope": -2.0}, (2, INF, INF, INF)),
    ("relu6", {}, (1, INF, INF, INF)),
    ("relu_squared", {}, (INF, 2, INF, INF)),
    ("elu", {}, (1, 1, INF, INF)),
    ("elu", {"alpha": 0.5}, (1, INF, INF, INF)),
    ("celu", {"alpha": 0.5}, (1, 2, INF, INF)),
    ("selu", {}, (SELU[0] * SELU[1], INF, INF, INF)),
    ("softplus", {}, (1, *LOGISTIC[:3])),
    ("softplus", {"beta": BETA}, (1, BETA * LOGISTIC[0], BETA**2 * LOGISTIC[1], BETA**3 * LOGISTIC[2])),
    ("sigmoid", {}, LOGISTIC),
    ("tanh", {}, tuple(2 ** (k + 1) * bound for k, bound in enumerate(LOGISTIC, start=1))),
    ("squareplus", {}, (1, 1 / 4, 3 * 0.5 / 1.25**2.5 / 8, 3 / 16)),
    ("erf", {}, tuple(2 / math.sqrt(math.pi) * c for c in (1, math.sqrt(2 / math.e), 2))),
    ("softsign", {}, (1, 2, INF, INF)),
    ("hardtanh", {}, (1, INF, INF, INF)),
    ("hard_sigmoid", {}, (1 / 6, INF, INF, INF)),
    ("sin", {}, (1, 1, 1, 1)),
    ("cos", {}, (1, 1, 1, 1)),
    ("gaussian", {}, (math.exp(-0.5), 1, 1.3801190467, 3)),
    ("gelu", {}, (1.1289041445, 2 / math.sqrt(2 * math.pi))),
    ("silu", {}, (1.0998393194, 1 / 2)),
    ("quadratic", {}, (INF, 2, 0, 0)),
    ("cubic", {}, (INF, INF, 6, 0)),
]


@pytest.mark.parametrize(("name", "parameters", "expected"), BOUNDS)
def test_derivative_bounds(name, parameters, expected):
    computed = profile(name, **parameters)
    # One-sided suprema are evaluated 1e-12 from the breakpoint; smooth maxima are refined to rounding.
    assert computed.derivative_bounds[: len(expected)] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert computed.lipschitz == computed.derivative_bounds[0]
    assert computed.lipschitz_derivative == computed.derivative_bounds[1]
    assert computed.lipschitz_second_derivative == computed.derivative_bounds[2]


def test_well_known_lipschitz_constants():
    assert profile("tanh").lipschitz == pytest.approx(1.0, rel=1e-12)
    assert profile("tanh").lipschitz_derivative == pytest.approx(4 / (3 * math.sqrt(3)), rel=1e-12)
    assert profile("elu").lipschitz_derivative == pytest.approx(1.0, rel=1e-11)  # although φ'' jumps


@pytest.mark.parametrize("beta", [16.0, 256.0, 1e4])
def test_steep_is_not_a_kink(beta):
    computed = profile("softplus", beta=beta)
    assert computed.smoothness == INF
    # beta=1e4 is a feature 50 times narrower than the grid; refinement resolves it to a lower accuracy.
    assert computed.lipschitz_derivative == pytest.approx(beta / 4, rel=1e-6)


@pytest.mark.parametrize("name", activations.names())
def test_polynomial_degree(name):
    assert profile(name).polynomial_degree == {"identity": 1, "quadratic": 2, "cubic": 3}.get(name)


@pytest.mark.parametrize("name", activations.names())
def test_parity(name):
    odd, even = (
        {"identity", "tanh", "erf", "softsign", "hardtanh", "sin", "cubic"},
        {"cos", "gaussian", "quadratic"},
    )
    assert profile(name).parity == ("odd" if name in odd else "even" if name in even else None)


def test_hermite_coefficients_have_their_closed_forms():
    # Accuracy of the quadrature: rounding of sums of about 1000 terms.
    def check(computed, expected):
        assert computed.hermite[: len(expected)] == pytest.approx(expected, abs=1e-13)

    root = math.sqrt
    check(profile("relu"), (1 / root(2 * math.pi), 1 / 2, 1 / (2 * root(math.pi)), 0))
    check(profile("quadratic"), (1, 0, root(2), 0, 0, 0, 0, 0))
    check(profile("cubic"), (0, 3, 0, root(6), 0, 0, 0, 0))
    factorials = [root(math.factorial(k)) for k in range(8)]
    # E[e^{iZ} He_k(Z)] = i^k e^{−1/2}
    check(profile("sin"), [(0, 1, 0, -1)[k % 4] * math.exp(-0.5) / factorials[k] for k in range(8)])
    check(profile("cos"), [(1, 0, -1, 0)[k % 4] * math.exp(-0.5) / factorials[k] for k in range(8)])
    check(compute_profile(torch.exp), [math.exp(0.5) / f for f in factorials])
    # c₁ = E φ'(Z): 2/√π·E e^{−Z²} for erf; for elu 1/2 + E[e^Z; Z<0] = 1/2 + √e·P(Z < −1)
    check(profile("erf"), (0, 2 / root(3 * math.pi), 0))
    check(profile("elu"), (1 / root(2 * math.pi) + root(math.e) * special.ndtr(-1) - 1 / 2,))
    assert profile("elu").hermite[1] == pytest.approx(0.5 + root(math.e) * special.ndtr(-1), abs=1e-13)
    check(profile("gaussian"), (1 / root(2), 0, -1 / 4, 0))
    check(profile("gelu"), (1 / (2 * root(math.pi)), 1 / 2))


def test_nonlinearity_has_its_closed_forms():
    def check(name, expected):
        assert profile(name).nonlinearity == pytest.approx(expected, abs=1e-13)

    check("identity", 0.0)
    check("relu", 1 - (1 / (2 * math.pi) + 1 / 4) / (1 / 2))
    check("quadratic", 2 / 3)  # (1 + 2 of which 2) / E Z⁴
    check("cubic", 6 / 15)
    check("sin", 1 - math.exp(-1) / ((1 - math.exp(-2)) / 2))
    check("cos", 1 - math.exp(-1) / ((1 + math.exp(-2)) / 2))
    check("erf", 1 - 4 / (3 * math.pi) / (2 / math.pi * math.asin(2 / 3)))
    check("gaussian", 1 - (1 / 2) / (1 / math.sqrt(3)))


def test_hermite_functions_are_orthonormal():
    z, weights = gaussian_quadrature(torch.sin)
    basis = hermite_functions(z, 8)
    torch.testing.assert_close(
        (basis * weights) @ basis.T, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-12
    )
    expected = special.eval_hermitenorm(7, z.numpy()) / math.sqrt(math.factorial(7))
    np.testing.assert_allclose(basis[7], expected, rtol=1e-10, atol=1e-12)


# User callables with properties that no registered activation has.
USER = [
    (lambda x: (x > 0.3).to(x.dtype), -1, ((0.3, 0),)),
    (lambda x: (x - 1 / 7).abs(), 0, ((round(1 / 7, 9), 1),)),
    (lambda x: torch.relu(x) ** 3, 2, ((0.0, 3),)),
    (lambda x: torch.relu(x + 2) ** 2 + torch.relu(x), 0, ((-2.0, 2), (0.0, 1))),
    (lambda x: x * torch.relu(x).pow(3), 3, ((0.0, 4),)),
    (lambda x: x.abs() ** 1.5, 1, ((0.0, 2),)),  # φ'' exists nowhere near 0: a pole, not a jump
    (lambda x: x * torch.log(x.abs()), 0, ((0.0, 1),)),
    (partial(functional.leaky_relu, negative_slope=1 - 1e-5), 0, ((0.0, 1),)),  # a small jump
    (lambda x: torch.tanh(x / 100), INF, ()),
    (torch.exp, INF, ()),
]


@pytest.mark.parametrize(("function", "smoothness", "breakpoints"), USER)
def test_smoothness_of_user_callables(function, smoothness, breakpoints):
    computed = compute_profile(function)
    assert computed.smoothness == smoothness
    assert [order for _, order in computed.breakpoints] == [order for _, order in breakpoints]
    # Locations are rounded to 1e-9; where a pole or a higher order blurs them, to a little more.
    places = [place for place, _ in computed.breakpoints]
    assert places == pytest.approx([place for place, _ in breakpoints], abs=2e-9)


def test_unbounded_user_callables():
    assert compute_profile(torch.exp).derivative_bounds == (INF,) * 4
    assert compute_profile(lambda x: (x > 0).to(x.dtype)).smoothness_class == "discontinuous"
    assert compute_profile(lambda x: (x > 0).to(x.dtype)).lipschitz == INF
    assert compute_profile(lambda x: x.abs() ** 1.5).lipschitz_derivative == INF  # a pole
    assert compute_profile(lambda x: x * torch.log1p(x * x)).lipschitz == INF  # logarithmic growth of φ'
    assert compute_profile(torch.asinh).lipschitz == pytest.approx(1.0, abs=1e-12)
    assert compute_profile(lambda x: torch.sin(x * x)).lipschitz == INF


@pytest.mark.parametrize(
    ("function", "degree"),
    [
        (torch.zeros_like, 0),
        (lambda x: x**5 - 3 * x + 1, 5),
        (lambda x: torch.tanh(x / 100), None),  # a polynomial to rounding on [−12, 12]
        (lambda x: x + torch.exp(-x * x), None),  # a polynomial at all coarse points
    ],
)
def test_polynomial_degree_of_user_callables(function, degree):
    assert compute_profile(function).polynomial_degree == degree


def test_constant_has_no_nonlinearity():
    computed = compute_profile(torch.zeros_like)
    assert computed.nonlinearity == 0.0
    assert computed.derivative_bounds == (0.0,) * 4


def test_a_profile_needs_finite_values():
    with pytest.raises(ValueError, match=r"not finite at x = -1[12]\."):
        compute_profile(torch.log)


def test_a_profile_is_quick():
    start = time.process_time()
    compute_profile(activations.get("mish").function)  # the slowest: 0.15 s
    assert time.process_time() - start < 1.0
