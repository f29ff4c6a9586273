"""study=depth_limit against slow, direct computation; its rate, and its errors for invalid settings."""

import math

import pytest
import torch
from tests.reference import dense_trace_kernel

from ntkode.gradients import Objective, deviation, loss_gradient
from ntkode.integrate import Solver
from ntkode.losses import SquaredError
from ntkode.models import NeuralODE
from ntkode.results import Status
from ntkode.studies import build
from ntkode.studies.depth_limit import kink_flips

SMALL = (
    "study=depth_limit",
    "study.probe_size=6",
    "study.kernel_probe_size=6",
    "study.reference_steps=160",
    "model=resnet",
    "model.width=20",
    "dataset=digits",
    "n_train=10",
    "n_test=10",
    "metrics=none",
    "logger=none",
)
RATES = ("output/relative_error", "ntk/discrete_error", "gradient/discrete_error", "gradient/adjoint_error")


def distance(value, reference):
    return ((value - reference).norm() / reference.norm()).item()


def layers(parameters, x, depth, horizon):
    """Outputs of the ResNet, computed layer by layer."""
    U, W, v = parameters
    n, h = len(W), x @ U.T / math.sqrt(x.shape[1])
    for _ in range(depth):
        h = h + horizon / depth * torch.tanh(h) @ W.T / math.sqrt(n)
    return torch.tanh(h) @ v / math.sqrt(n)


def adjoint_by_hand(parameters, x, y, depth, horizon):
    """Loss gradient by Euler steps forwards, and Euler steps of state, adjoint and ∂L/∂W backwards."""
    U, W, v = parameters
    n, d, step = len(W), x.shape[1], horizon / depth
    h = x @ U.T / math.sqrt(d)
    for _ in range(depth):
        h = h + step * torch.tanh(h) @ W.T / math.sqrt(n)
    residual = torch.tanh(h) @ v / math.sqrt(n) - y
    slope = lambda h: 1 - torch.tanh(h) ** 2  # noqa: E731
    grad_v = torch.tanh(h).T @ residual / math.sqrt(n)
    adjoint = slope(h) * (residual @ v.T) / math.sqrt(n)
    grad_W = torch.zeros_like(W)
    for _ in range(depth):
        back = adjoint @ W / math.sqrt(n) * slope(h)
        grad_W = grad_W + step * adjoint.T @ torch.tanh(h) / math.sqrt(n)
        h = h - step * torch.tanh(h) @ W.T / math.sqrt(n)
        adjoint = adjoint + step * back
    return torch.cat([g.flatten() for g in (adjoint.T @ x / math.sqrt(d), grad_W, grad_v)])


def test_the_row_holds_what_direct_computation_gives(run):
    config, record = run("activation=tanh", "model.depth=7", "model.horizon=1.5")
    assert record.status["status"] == Status.DONE, record.status
    (row,) = record.history()
    data = build(config["dataset"])
    data.setup()
    x, y = data.train.x[:6].double(), data.train.y[:6].double()
    torch.manual_seed(config["seed"])
    resnet = build(config["model"])(in_features=64, out_features=10).double()
    parameters = [resnet.U, resnet.W, resnet.v]
    # The exact flow by a solver that the study does not use.
    ode = NeuralODE(64, 20, 10, activation="tanh", horizon=1.5, solver=Solver("midpoint", steps=4000))
    ode.load_state_dict(resnet.state_dict())
    ode = ode.double()

    def gradient(output, of):
        loss = 0.5 * (output - y).square().sum()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, of)])

    exact = gradient(ode(x), [ode.U, ode.W, ode.v])
    f = layers(parameters, x, 7, 1.5)
    # 4,000 steps of order 2 have an error of 1e-7, the study's reference one of 1e-8.
    close = {"rel": 1e-5}
    assert row["output/relative_error"] == pytest.approx(distance(f, ode(x)), **close)
    assert row["gradient/discrete_error"] == pytest.approx(distance(gradient(f, parameters), exact), **close)
    with torch.no_grad():
        adjoint = adjoint_by_hand(parameters, x, y, 7, 1.5)
    assert row["gradient/adjoint_error"] == pytest.approx(distance(adjoint, exact), **close)
    coarse = ode.solved_by(Solver("rk4", steps=40))  # error 1e-9, and little memory
    kernels = dense_trace_kernel(resnet, x, x), dense_trace_kernel(coarse, x, x)
    assert row["ntk/discrete_error"] == pytest.approx(distance(*kernels), **close)
    assert row["gradient/reference_error"] < 1e-8


@pytest.mark.parametrize("activation", ["tanh", "softplus", "relu"])
def test_errors_fall_as_one_over_the_depth(run, activation):
    shallow, deep = (
        run(f"activation={activation}", f"model.depth={depth}", "model.width=64")[1].history()[0]
        for depth in (10, 80)
    )
    # Higher orders in 1/L bend the curves by a few percent. Kinks do not change the outputs' rate.
    for name in RATES if activation != "relu" else RATES[:1]:
        assert math.log(deep[name] / shallow[name]) / math.log(8) == pytest.approx(-1, abs=0.06), name


def test_kinks_slow_the_gradients_convergence():
    torch.manual_seed(0)
    x, y = torch.randn(300, 10, dtype=torch.float64), torch.randn(300, 1, dtype=torch.float64)
    model, objective = NeuralODE(10, 64, activation="relu").double(), Objective(SquaredError(), x, y)
    solved = {steps: model.solved_by(Solver("euler", steps=steps)) for steps in (10, 160)}
    fine = model.solved_by(Solver("rk4", steps=320))
    reference = loss_gradient(fine, objective)
    errors = [deviation(loss_gradient(m, objective), reference).relative_error for m in solved.values()]
    flips = [kink_flips(m, fine, x) for m in solved.values()]
    # Some 8 of the 19,200 entries are on the wrong side at 160 steps, ± 35 %, which is ± 0.13 of their slope.
    # The gradient's error mixes terms of order 1 and 1/2.
    assert math.log(flips[1] / flips[0]) / math.log(16) == pytest.approx(-1, abs=0.25)
    assert -0.9 < math.log(errors[1] / errors[0]) / math.log(16) < -0.5


def test_kink_flips_are_counted(run):
    config, record = run("activation=relu", "model.depth=4", "model.width=64")
    (row,) = record.history()
    data = build(config["dataset"])
    data.setup()
    torch.manual_seed(config["seed"])
    resnet = build(config["model"])(in_features=64, out_features=10).double()
    x = data.train.x[:6].double()
    with torch.no_grad():
        fine = resnet.solved_by(Solver("rk4", steps=160))
        ends = [model.flow(model.encode(x)) for model in (resnet, fine)]
    assert row["output/kink_flips"] == ((ends[0] > 0) != (ends[1] > 0)).double().mean().item()
    assert row["output/kink_flips"] > 0
    assert "output/kink_flips" not in run("model.depth=4")[1].history()[0]


def test_the_same_config_gives_the_same_numbers(run):
    first = run("model.depth=4")[1].history()
    assert run("model.depth=4", "rerun=all")[1].history() == first


@pytest.mark.parametrize(
    ("overrides", "named", "remedy"),
    [
        ("model=neural_ode", "study=depth_limit", "model=resnet model.depth=20"),
        ("model=mlp_ode", "model=mlp_ode", "model=resnet"),
        ("model.depth=0", "model.depth=0", "as in model.depth="),
        ("study.probe_size=-1", "study.probe_size=-1", "as in study.probe_size="),
        ("study.reference_steps=10", "study.reference_steps=10", "≥ 20"),
        ("loss=cross_entropy dataset=sine", "loss=cross_entropy", "loss=squared"),
    ],
)
def test_bad_input_is_one_error_that_names_value_and_remedy(run, overrides, named, remedy):
    stored = run(*overrides.split())[1].status
    assert stored["status"] == "error"
    assert named in stored["message"]
    assert remedy in stored["message"] + stored["remedy"]
