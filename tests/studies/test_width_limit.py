"""study=width_limit against slow, direct computation; its rate, and its errors for invalid settings."""

import math

import pytest
import torch
from tests.reference import dense_trace_kernel

from ntkode.models import NeuralODE
from ntkode.ntk import infinite_width_kernels
from ntkode.results import Status
from ntkode.studies import build
from ntkode.studies.width_limit import LimitDistances, conditional_nngp

SMALL = (
    "study=width_limit",
    "dataset=digits",
    "n_train=12",
    "n_test=12",
    "steps=3",
    "width=w64",
    "metrics=none",
    "logger=none",
)
KERNELS = ("ntk/limit_distance", "nngp/limit_distance", "ntk/lambda_min", "nngp/lambda_min")


def initial_model(config, data):
    torch.manual_seed(config["seed"])
    return build(config["model"])(in_features=data.in_features, out_features=data.out_features)


def distance(kernel, reference):
    return float((kernel - reference).norm() / reference.norm())


# The fast kernels are exact to 1e-12 in float64; the initial weights are drawn in float32 in either case.
TOLERANCE = 1e-9


def test_rows_hold_what_direct_computation_gives(run):
    config, record = run("activation=softplus", "dtype=float64")
    assert record.status["status"] == Status.DONE, record.status
    data = build(config["dataset"])
    data.setup()
    x, y = data.train.x, data.train.y
    model = initial_model(config, data).double()
    limit = LimitDistances(model, x).limit
    kernel = dense_trace_kernel(model, x, x)
    with torch.no_grad():
        features = model.activation(model.flow(model.encode(x)))
    first, *_, last = [row for row in record.history() if "ntk/drift" in row]
    assert (first["step"], last["step"]) == (0, 3)
    assert first["ntk/limit_distance"] == pytest.approx(distance(kernel, limit.ntk), rel=TOLERANCE)
    nngp = features @ features.T / 64
    assert first["nngp/limit_distance"] == pytest.approx(distance(nngp, limit.nngp), rel=TOLERANCE)
    assert first["ntk/lambda_min"] == pytest.approx(float(torch.linalg.eigvalsh(kernel)[0]), rel=1e-6)
    assert first["nngp/limit_lambda_min"] == pytest.approx(
        float(torch.linalg.eigvalsh(limit.nngp)[0]), rel=1e-6
    )
    assert first["ntk/drift"] == 0

    rate = 1 / float(torch.linalg.eigvalsh(limit.ntk)[-1])
    assert record.summary()["learning_rate"] == pytest.approx(rate, rel=1e-12)
    start = model(x).detach()
    for _ in range(3):
        loss = 0.5 * (model(x) - start - y).square().sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= rate * gradient
    trained = dense_trace_kernel(model, x, x)
    assert last["ntk/limit_distance"] == pytest.approx(distance(trained, limit.ntk), rel=TOLERANCE)
    assert last["ntk/drift"] == pytest.approx(distance(trained, kernel), rel=1e-6)  # of a difference


def test_the_limit_uses_the_solver_of_the_run():
    torch.manual_seed(0)
    x = torch.randn(5, 8, dtype=torch.float64)
    solver = build({"_target_": "ntkode.integrate.Solver", "method": "euler", "steps": 3})
    model = NeuralODE(8, 16, activation="tanh", horizon=1.5, sigma_w=1.2, sigma_v=0.7, solver=solver)
    limit = LimitDistances(model.double(), x).limit
    options = {"activation": "tanh", "horizon": 1.5, "sigma_w": 1.2, "sigma_v": 0.7}
    euler = infinite_width_kernels(x, depth=3, **options)
    assert torch.allclose(limit.ntk, euler.ntk, atol=1e-12)
    assert torch.allclose(limit.nngp, euler.nngp, atol=1e-12)
    flow = infinite_width_kernels(x, **options)
    assert distance(limit.ntk, flow.ntk) > 0.01  # a bound below for distances from the exact flow


def test_the_conditional_nngp_is_the_covariance_over_v():
    torch.manual_seed(1)
    x = torch.randn(3, 4, dtype=torch.float64)
    model = NeuralODE(4, 16, 200_000, activation="tanh", sigma_v=1.5).double()
    outputs = model(x).detach()
    # 200,000 outputs are as many draws of v: the variances have standard errors of √(2/200,000) = 0.3 %.
    covariance = outputs @ outputs.T / outputs.shape[1]
    scale = conditional_nngp(model, x).diag().max()
    assert ((conditional_nngp(model, x) - covariance).abs().max() / scale) < 0.012


@pytest.mark.parametrize("activation", ["tanh", "softplus", "relu"])
def test_distances_fall_as_one_over_the_root_of_the_width(activation):
    torch.manual_seed(2)
    x = torch.randn(8, 20, dtype=torch.float64)
    widths, logs = [32, 128, 512], []
    for width in widths:
        rows = []
        for _ in range(8):
            model = (
                NeuralODE(20, width, activation=activation)
                .double()
                .solved_by(build({"_target_": "ntkode.integrate.Solver", "steps": 3}))
            )
            rows.append(LimitDistances(model, x).measure(model))
        logs.append([sum(math.log(row[name]) for row in rows) / 8 for name in KERNELS[:2]])
    # A distance varies by 30 % over seeds: with 8 seeds and a factor of 16 in width, the slope has a standard
    # error of 0.3/√8·√2/log 16 = 0.054.
    for first, last in zip(logs[0], logs[-1], strict=True):
        assert (last - first) / math.log(widths[-1] / widths[0]) == pytest.approx(-0.5, abs=0.15)


def test_without_training_there_is_one_row(run):
    _, record = run("study.train=false", "metrics=cheap")
    assert [row["step"] for row in record.history()] == [0]
    assert "loss/train" not in record.summary()


def test_the_same_config_gives_the_same_numbers(run):
    first = run("seed=3")[1].history()
    assert run("seed=3", "rerun=all")[1].history() == first
    assert run("seed=4")[1].history()[0] != first[0]


@pytest.mark.parametrize(
    "overrides", ["solver=dopri5", "model=resnet model.depth=4", "loss=cross_entropy", "optimizer.lr=0.01"]
)
def test_other_settings(run, overrides):
    _, record = run(*overrides.split())
    assert record.status["status"] == Status.DONE, record.status
    assert all(math.isfinite(record.summary()[name]) for name in KERNELS)


@pytest.mark.parametrize(
    ("overrides", "named", "remedy"),
    [
        ("model=mlp_ode", "model=mlp_ode", "model=neural_ode"),
        ("model=time_dependent_ode", "study=width_limit", "model=neural_ode"),
        ("study.probe_size=0", "study.probe_size=0", "as in study.probe_size="),
        ("solver=implicit_adams", "implicit_adams", "solver=rk4"),
        ("optimizer.lr_factor=0", "optimizer.lr_factor=0", "as in optimizer.lr_factor="),
        ("activation=quadratic model.horizon=4", "quadratic", "model.horizon="),
    ],
)
def test_bad_input_is_one_error_that_names_value_and_remedy(run, overrides, named, remedy):
    stored = run(*overrides.split())[1].status
    assert stored["status"] == "error"
    assert named in stored["message"]
    assert remedy in stored["message"] + stored["remedy"]


def test_a_training_that_diverges_keeps_what_was_measured_before(run):
    _, record = run("optimizer.lr=1e6", "steps=30")
    assert record.status["status"] == "diverged"
    assert record.summary()["ntk/limit_distance"] == record.history()[0]["ntk/limit_distance"]
