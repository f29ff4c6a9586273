"""Infinite-width kernels: reference matrices, limits, symmetries, Monte Carlo at finite width, refusals."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import iv

from ntkode import activations
from ntkode.integrate import Solver
from ntkode.models import NeuralODE, ResNet
from ntkode.ntk import BlowUpError, RungeKutta, dual_activation, empirical_ntk, infinite_width_kernels
from ntkode.ntk.infinite_width import assembly as assembly_module

REFERENCE = Path(__file__).with_name("infinite_width_cases.json")


def inputs(rows=6, features=4, seed=0, equal_norms=False):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, generator=generator, dtype=torch.float64)
    return x / x.norm(dim=1, keepdim=True) * features**0.5 if equal_norms else x


def distance(one, two):
    return max(float((one.nngp - two.nngp).abs().max()), float((one.ntk - two.ntk).abs().max()))


def reference_inputs(case):
    i, j = np.ogrid[: case["N"], : case["d"]]
    d = case["d"]
    rows = {
        "sin(1+i*d+j), rows normalised": np.sin(1 + i * d + j),
        "sin(1+(i+1)*(j+1)), rows normalised": np.sin(1 + (i + 1) * (j + 1)),
    }[case["X_formula"]]
    scale = {"1": 1.0, "sqrt(d)": math.sqrt(d), "0.6+0.2*i": 0.6 + 0.2 * i}[case["row_scale"]]
    return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True) * scale)


def test_reference_matrices():
    for case in json.loads(REFERENCE.read_text())["cases"]:
        kernels = infinite_width_kernels(
            reference_inputs(case),
            activation=case["activation"],
            horizon=case["T"],
            sigma_u=case["sigma_u"],
            sigma_w=case["sigma_w"],
            sigma_v=case["sigma_v"],
            depth=case["euler_layers"],
            tolerance=1e-10,
        )
        for name in ("nngp", "ntk"):
            expected = torch.tensor(case[name], dtype=torch.float64)
            error = float((getattr(kernels, name) - expected).abs().max())
            assert error < 1e-9, (case["name"], name, error)


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu"])
def test_no_time_leaves_the_two_layer_kernel(name):
    x = inputs()
    k0 = x @ x.T / 4
    v = k0.diagonal()
    phi, slope = dual_activation(name)(v[:, None], v[None, :], k0)
    for horizon, tolerance in ((0.0, 1e-7), (1e-5, 1e-7)):
        kernels = infinite_width_kernels(x, activation=name, horizon=horizon, sigma_v=1.5)
        # Kernels change with the square of the horizon; relu changes by 1e-8 at a correlation of 1 − ε.
        assert torch.allclose(kernels.nngp, 2.25 * phi, atol=tolerance)
        assert torch.allclose(kernels.ntk, 2.25 * (phi + slope * k0), atol=tolerance)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 4.0])
def test_identity_has_bessel_kernels(gamma):
    x = inputs()
    k0 = 0.49 * x @ x.T / 4
    kernels = infinite_width_kernels(x, activation="identity", sigma_w=gamma / 2, horizon=2.0, sigma_u=0.7)
    scale = iv(0, 2 * gamma)  # the tolerance is relative above one
    assert torch.allclose(kernels.nngp, k0 * iv(0, 2 * gamma), rtol=1e-8, atol=1e-8 * scale)
    expected = k0 * (2 * iv(0, 2 * gamma) + gamma * iv(1, 2 * gamma))
    assert torch.allclose(kernels.ntk, expected, rtol=1e-8, atol=1e-8 * scale)


@pytest.mark.parametrize(("method", "order", "steps"), [("euler", 1, 40), ("midpoint", 2, 10), ("rk4", 4, 8)])
def test_discretisations_converge_to_the_flow_at_their_order(method, order, steps):
    x = inputs(4)
    flow = infinite_width_kernels(x, activation="tanh", horizon=1.5, tolerance=1e-11)

    def error(count):
        tableau = RungeKutta.of(Solver(method, steps=count))
        return distance(infinite_width_kernels(x, activation="tanh", horizon=1.5, tableau=tableau), flow)

    # The next term of the error expansion is 1/steps of the first.
    assert math.log2(error(steps) / error(2 * steps)) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize("name", ["tanh", "relu", "quadratic"])
def test_depth_is_euler(name):
    x = inputs(4)
    options = {"activation": name, "horizon": 0.3, "tolerance": 1e-10}
    deep = infinite_width_kernels(x, depth=7, **options)
    euler = infinite_width_kernels(x, tableau=RungeKutta.of(Solver("euler", steps=7)), **options)
    # The same sums in another order; at x = x' relu's ρ may differ by rounding, which changes it by 1e-8.
    assert distance(deep, euler) < (1e-7 if name == "relu" else 1e-11)


@pytest.mark.parametrize("name", ["relu", "hardtanh"])
def test_discretisations_of_kinked_activations_converge_to_the_flow(name):
    x = inputs(4)
    flow = infinite_width_kernels(x, activation=name, tolerance=1e-9)
    coarse = distance(infinite_width_kernels(x, activation=name, depth=50), flow)
    fine = distance(infinite_width_kernels(x, activation=name, depth=100), flow)
    assert coarse / fine == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("name", ["tanh", "hardtanh"])
def test_rows_permute_and_blocks_are_blocks(name):
    x = inputs(7)
    order = torch.tensor([3, 6, 0, 5, 1, 2, 4])
    whole = infinite_width_kernels(x, activation=name)
    permuted = infinite_width_kernels(x[order], activation=name)
    rectangle = infinite_width_kernels(x[:3], x[1:], activation=name)
    # All values are within the tolerance of the same numbers.
    assert torch.allclose(permuted.ntk, whole.ntk[order][:, order], atol=2e-8)
    assert torch.allclose(rectangle.ntk, whole.ntk[:3, 1:], atol=2e-8)
    assert torch.allclose(rectangle.nngp, whole.nngp[:3, 1:], atol=2e-8)
    assert torch.equal(whole.ntk, whole.ntk.T)


def test_only_the_product_of_sigma_w_and_horizon_matters():
    x = inputs()
    one = infinite_width_kernels(x, activation="softplus", sigma_w=2.0, horizon=0.5)
    two = infinite_width_kernels(x, activation="softplus", sigma_w=0.25, horizon=4.0)
    # The same γ; sums may run in another order.
    assert distance(one, two) < 1e-14


def test_sigma_u_scales_inputs_and_sigma_v_outputs():
    x = inputs()
    one = infinite_width_kernels(x, activation="tanh", sigma_u=1.3, sigma_v=2.0)
    two = infinite_width_kernels(1.3 * x, activation="tanh")
    assert torch.allclose(one.ntk, 4 * two.ntk, atol=1e-7)  # four times the tolerance
    assert torch.allclose(one.nngp, 4 * two.nngp, atol=1e-7)


@pytest.mark.parametrize("name", ["tanh", "softplus", "relu", "erf", "gelu", "sin", "leaky_relu"])
def test_kernels_are_positive_semi_definite(name):
    x = inputs(60, 5)
    kernels = infinite_width_kernels(x, activation=name, tolerance=1e-9)
    for kernel in (kernels.nngp, kernels.ntk, kernels.ntk - kernels.nngp):
        smallest = float(torch.linalg.eigvalsh(kernel)[0])
        # Errors of 1e-9 an entry move eigenvalues by N times as much at most.
        assert smallest > -60 * 1e-9
    assert float(torch.linalg.eigvalsh(kernels.ntk)[0]) > 1e-5


@pytest.mark.parametrize(
    ("name", "equal_norms", "tolerance"),
    [("tanh", True, 1e-8), ("softplus", False, 1e-7), ("relu", False, 1e-7), ("silu", True, 1e-8)],
)
def test_many_pairs_are_interpolated_as_well_as_solved(name, equal_norms, tolerance, monkeypatch):
    x = inputs(120, 8, equal_norms=equal_norms)
    many = infinite_width_kernels(x, activation=name, tolerance=tolerance)
    few = infinite_width_kernels(x[::12], activation=name, tolerance=1e-10)
    assert many.error <= tolerance
    assert float((many.ntk[::12, ::12] - few.ntk).abs().max()) <= tolerance
    assert float((many.nngp[::12, ::12] - few.nngp).abs().max()) <= tolerance
    monkeypatch.setattr(assembly_module, "FEW_PAIRS", 10**9)  # solves every pair
    solved = infinite_width_kernels(x[:40], activation=name, tolerance=tolerance)
    assert float((many.ntk[:40, :40] - solved.ntk).abs().max()) <= 2 * tolerance


@pytest.mark.parametrize("name", ["relu", "hardtanh", "tanh"])
def test_equal_opposite_and_parallel_inputs(name):
    x = inputs(3)
    x = torch.cat([x, x[:1], -x[:1], 2 * x[:1]])
    kernels = infinite_width_kernels(x, activation=name)
    assert float(kernels.ntk[0, 3]) == float(kernels.ntk[0, 0])
    if name != "relu":
        assert float(kernels.ntk[0, 4]) == -float(kernels.ntk[0, 0])
    else:
        assert float(kernels.ntk[0, 5]) == pytest.approx(2 * float(kernels.ntk[0, 0]), rel=1e-12)
    rectangle = infinite_width_kernels(x[:3], x[3:].clone(), activation=name)
    assert torch.allclose(rectangle.ntk, kernels.ntk[:3, 3:], atol=2e-8)


def test_blocks_of_any_size_give_the_same():
    x = inputs(30)
    one = infinite_width_kernels(x, activation="gelu")
    two = infinite_width_kernels(x, activation="gelu", max_bytes=50_000, progress=True)
    assert distance(one, two) < 1e-12  # pairs are solved in other batches


def monte_carlo(model_of, x, widths_seeds):
    samples = []
    for seed in range(widths_seeds):
        torch.manual_seed(seed)
        samples.append(empirical_ntk(model_of(), x))
    return torch.stack(samples)


@pytest.mark.parametrize("name", ["tanh", "relu"])
@pytest.mark.parametrize("kind", ["rk4", "depth"])
def test_finite_networks_scatter_around_the_limit(name, kind):
    x = inputs(3, equal_norms=True)
    width, seeds, outputs = 256, 30, 4
    shared = {"activation": name, "sigma_w": 1.2, "sigma_u": 0.9, "sigma_v": 1.1}
    if kind == "rk4":
        solver = Solver("rk4", steps=4)
        limit = infinite_width_kernels(x, tableau=RungeKutta.of(solver), **shared)
        samples = monte_carlo(lambda: NeuralODE(4, width, outputs, solver=solver, **shared), x, seeds)
    else:
        limit = infinite_width_kernels(x, depth=5, **shared)
        samples = monte_carlo(lambda: ResNet(4, width, outputs, depth=5, **shared), x, seeds)
    standard_error = samples.std(0) / seeds**0.5
    # The bias of the mean is of order 1/width, about a fifth of a standard error here.
    assert bool(
        ((samples.mean(0) - limit.ntk).abs() < 4 * standard_error + 2 / width * limit.ntk.abs()).all()
    )


def test_distance_to_the_limit_falls_as_the_root_of_the_width():
    x = inputs(5, equal_norms=True)
    solver = Solver("rk4", steps=4)
    limit = infinite_width_kernels(x, activation="tanh", tableau=RungeKutta.of(solver)).ntk
    widths = [32, 64, 128, 256]
    distances = []
    for width in widths:
        samples = monte_carlo(lambda: NeuralODE(4, width, activation="tanh", solver=solver), x, 60)  # noqa: B023
        distances.append(float((samples - limit).square().mean().sqrt()))
    slope = np.polyfit(np.log(widths), np.log(distances), 1)[0]
    # With 60 seeds each distance has a scatter of 5 %, and the slope of 0.05.
    assert slope == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize(("name", "norm", "critical"), [("quadratic", 1.0, 0.966), ("quadratic", 2.0, 0.483)])
def test_blow_up_names_the_critical_horizon(name, norm, critical):
    x = norm * inputs(3, equal_norms=True)
    with pytest.raises(BlowUpError, match=r"blows up at σ_w·t ≈ .*model\.horizon=") as caught:
        infinite_width_kernels(x, activation=name, horizon=2.0)
    assert caught.value.critical == pytest.approx(critical, rel=0.01)
    assert infinite_width_kernels(x, activation=name, horizon=0.5 * critical).error <= 1e-8


def test_blow_up_of_other_superlinear_activations():
    for name in ("cubic", "relu_squared"):
        with pytest.raises(BlowUpError):
            infinite_width_kernels(inputs(2, equal_norms=True), activation=name, horizon=5.0)


def test_discrete_networks_do_not_blow_up_at_finite_depth():
    kernels = infinite_width_kernels(
        inputs(3, equal_norms=True), activation="quadratic", horizon=2.0, depth=4
    )
    assert bool(kernels.ntk.isfinite().all())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x2": torch.ones(2, 3)}, "x1 has 4 features and x2 has 3"),
        ({"x1": torch.tensor([[1.0, 2.0], [math.nan, 1.0]])}, "x1 is not finite in row 1"),
        ({"x1": torch.tensor([[1.0, 2.0], [0.0, 0.0]])}, "x1 is zero in row 1"),
        ({"x1": torch.ones(4)}, r"x1 of shape \(4,\) must be \(N, d\)"),
        ({"x1": torch.ones(0, 4)}, r"x1 of shape \(0, 4\)"),
        ({"depth": 0}, "model.depth=0 must be an integer ≥ 1"),
        ({"depth": 2, "tableau": RungeKutta.of(Solver("euler", steps=2))}, "depth and tableau"),
        ({"sigma_w": -1.0}, "model.sigma_w=-1.0"),
        ({"sigma_u": 0.0}, "model.sigma_u=0.0"),
        ({"sigma_v": math.nan}, "model.sigma_v=nan"),
        ({"horizon": -1.0}, "model.horizon=-1.0"),
        ({"tolerance": 0.0}, "tolerance=0.0"),
        ({"max_bytes": 0}, "max_bytes=0"),
        ({"activation": "tahn"}, "did you mean"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        infinite_width_kernels(**({"x1": inputs(), "activation": "tanh"} | change))


@pytest.mark.parametrize("bad", [Solver("dopri5"), Solver("implicit_adams", steps=4)])
def test_methods_without_an_exact_limit_are_refused(bad):
    with pytest.raises(ValueError, match="has no exact infinite-width limit"):
        RungeKutta.of(bad)


def test_bad_tableaux_are_refused():
    with pytest.raises(ValueError, match="add up to 1"):
        RungeKutta(((0.0,),), (0.5,))
    with pytest.raises(ValueError, match="shape"):
        RungeKutta(((0.0, 1.0),), (1.0,))
    with pytest.raises(ValueError, match="steps=0"):
        RungeKutta(((0.0,),), (1.0,), 0)


def test_float32_inputs_give_float64_kernels():
    x = inputs().float()
    kernels = infinite_width_kernels(x, activation="tanh")
    assert kernels.ntk.dtype == torch.float64
    assert distance(kernels, infinite_width_kernels(x.double(), activation="tanh")) < 1e-14


def test_steep_parameters_are_respected():
    x = inputs(3)
    steep = infinite_width_kernels(x, activation=activations.get("softplus", beta=8.0), tolerance=1e-4)
    relu = infinite_width_kernels(x, activation="relu")
    plain = infinite_width_kernels(x, activation="softplus")
    # softplus(β) is relu but for |x| < 1/β.
    assert distance(steep, relu) < 0.2 * distance(plain, relu)
