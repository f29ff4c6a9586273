"""Metrics of losses and parameters by themselves, without a training: values against loops and formulas."""

import importlib
import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from tests.metrics.modules import Bystander, Drawing, Failing, after, randn, run, split
from torch import nn

from ntkode import metrics
from ntkode.gradients import Objective
from ntkode.integrate import Solver
from ntkode.losses import CrossEntropy, SquaredError
from ntkode.metrics.limit import has_limit
from ntkode.models import NeuralODE, ResNet, TimeDependentODE
from ntkode.ntk import REPRODUCIBLE_BYTES
from ntkode.theory import contraction_rate


@pytest.mark.parametrize(
    ("every", "measured"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (3, [0, 3, 5]), (None, [0, 5])]
)
def test_a_metric_is_measured_on_schedule_and_leaves_the_random_state(every, measured):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    records, seconds = run(Drawing(every))
    assert list(records) == measured
    # Each measurement starts from the same state.
    assert len({values["drawn"] for values in records.values()}) == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert seconds == [("Drawing", 2)] * (1 + len(measured))


def test_a_metric_that_cannot_be_prepared_is_nan_and_one_that_does_not_apply_is_absent():
    with pytest.warns(UserWarning, match="Failing cannot be measured in this run: no solution"):
        records, _ = run(Failing(None))
    assert list(records) == [0, 5]
    assert all(math.isnan(values["drawn"]) for values in records.values())
    assert run(Bystander()) == ({}, [])


def test_a_restored_metric_continues_without_new_preparation():
    metric = Failing(2)
    metric.restore({"active": True, "_prepared": True, "log": None})
    records, _ = run(metric)
    assert all(math.isfinite(values["drawn"]) for values in records.values())
    metric.log = print
    assert metric.kept() == {"every": 2, "active": True, "_prepared": True, "_resumed": True}


@pytest.mark.parametrize(("step", "window", "rate"), [(20, "0-20", 0.01), (70, "50-70", 0.002)])
def test_a_decay_rate_is_that_of_the_window_that_ends(step, window, rate):
    values = metrics.DecayRate().measure(after(step))
    assert values.keys() == {"loss/decay_rate", f"loss/decay_rate/{window}"}
    for value in values.values():
        assert value == pytest.approx(rate)
    assert metrics.DecayRate().measure(after(step - 1)) == {}


def test_predicted_rates_and_the_gap_are_those_of_the_predicted_curve():
    metric = metrics.LossPrediction()
    # By the curve the loss falls twice as fast, from the same start.
    metric.restore({"_curve": [2.0 * math.exp(-0.02 * k) for k in range(71)], "_gap": 0.0})
    values = metric.measure(after(20))
    assert values["loss/predicted_ratio"] == pytest.approx(math.exp(-0.4))
    assert values["loss/prediction_gap"] == pytest.approx(math.exp(-0.2) - math.exp(-0.4))
    assert values["loss/predicted_rate"] == values["loss/predicted_rate/0-20"] == pytest.approx(0.02)
    assert values["loss/rate_ratio"] == pytest.approx(0.5)
    assert metric.measure(after(21)).keys() == {"loss/predicted_ratio", "loss/prediction_gap"}
    # A curve that stays has no ratio, and a start of zero no prediction.
    metric.restore({"_curve": [1.0] * 71})
    assert math.isnan(metric.measure(after(20))["loss/rate_ratio"])
    nothing = after(0)
    nothing.losses = [0.0]
    assert math.isnan(metric.measure(nothing)["loss/predicted_ratio"])


def test_the_limits_prediction_is_read_off_its_curve():
    metric = metrics.LimitPrediction()
    metric.restore({"_curve": [3.0 * math.exp(-0.03 * k) for k in range(71)]})
    values = metric.measure(after(20))
    assert values["loss/predicted_ratio_limit"] == pytest.approx(1.5 * math.exp(-0.6))
    assert values["loss/predicted_rate_limit"] == pytest.approx(0.03)
    assert metric.measure(after(19)).keys() == {"loss/predicted_ratio_limit"}
    nothing = after(0)
    nothing.losses = [0.0]
    assert math.isnan(metric.measure(nothing)["loss/predicted_ratio_limit"])


def test_the_local_rate_sums_the_gradients_squares():
    model = nn.Linear(3, 2)
    model.weight.grad, model.bias.grad = randn(2, 3).float(), None
    module = SimpleNamespace(model=model, losses=[9.0, 4.0], learning_rate=0.05)
    squared = sum(float(g) ** 2 for g in model.weight.grad.flatten())
    expected = contraction_rate(0.05, squared / 8)
    assert metrics.LocalRate().measure(module)["loss/local_rate"] == pytest.approx(expected, rel=1e-12)
    module.losses = [0.0]
    assert math.isnan(metrics.LocalRate().measure(module)["loss/local_rate"])


LIMITS = [
    # (horizon and σ, solver, other options, whether it is known)
    ((4.0, 1.0), "rk4", {}, True),
    ((0.5, 8.0), "rk4", {}, True),
    ((8.0, 0.5), "rk4", {}, True),
    ((4.0, 1.01), "rk4", {}, False),
    ((1.0, 1.0), "implicit_adams", {}, False),
    ((1.0, 1.0), "euler", {"steps": 200}, True),
    ((1.0, 1.0), "euler", {"steps": 201}, False),
    ((1.0, 1.0), "rk4", {"steps": 201}, True),
    ((1.0, 1.0), "dopri5", {"steps": None}, True),
]


@pytest.mark.parametrize(("sizes", "method", "options", "known"), LIMITS)
def test_the_limit_is_known_up_to_these_sizes(sizes, method, options, known):
    solver = Solver(method, **({"steps": 10} | options))
    model = NeuralODE(4, 8, activation="tanh", horizon=sizes[0], sigma_w=sizes[1], solver=solver)
    module = SimpleNamespace(model=model, data=SimpleNamespace(train=split(5)))
    assert has_limit(module) is known


def test_the_limit_needs_a_model_without_time_and_inputs_that_are_not_zero():
    data = SimpleNamespace(train=split(5))
    data.train.x[2, 1] = 0  # one entry does not matter
    phi = {"activation": "tanh"}
    models = (ResNet(4, 8, depth=5, **phi), TimeDependentODE(4, 8, **phi))
    assert [has_limit(SimpleNamespace(model=model, data=data)) for model in models] == [True, False]
    assert not has_limit(SimpleNamespace(model=NeuralODE(4, 8, sigma_u=0.0, **phi), data=data))
    assert has_limit(SimpleNamespace(model=NeuralODE(4, 8, activation="relu"), data=data))
    data.train.x[2] = 0
    assert not has_limit(SimpleNamespace(model=models[0], data=data))


def test_the_parameters_distance_is_measured_in_float64_and_blocks_of_zero_are_left_out():
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.bias)
    start = model.weight.detach().double()
    metric, module = metrics.ParameterDistance(), SimpleNamespace(model=model)
    metric.prepare(module)
    with torch.no_grad():
        model.weight.add_(1e-3 * randn(2, 3).float())
        model.bias.add_(1e-3)
    moved = float((model.weight.detach().double() - start).square().sum())
    bias = float(model.bias.detach().double().square().sum())
    size = float(start.square().sum())
    values = metric.measure(module)
    assert values.keys() == {"params/distance", "params/distance/weight"}
    assert values["params/distance"] == pytest.approx(((moved + bias) / size) ** 0.5, rel=1e-12)
    assert values["params/distance/weight"] == pytest.approx((moved / size) ** 0.5, rel=1e-12)


@pytest.mark.parametrize("loss", [SquaredError(), CrossEntropy()])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_test_loss_is_a_mean_and_only_classes_have_an_accuracy(task, loss):
    labels = torch.tensor([0, 2, 1, 1]) if task == "classification" else None
    test = split(4, labels=labels)
    test.y = torch.eye(3, dtype=torch.float64)[[0, 2, 1, 1]]
    f = torch.tensor([[3.0, 1, 2], [1, 3, 2], [1, 3, 2], [1, 3, 2]], dtype=torch.float64)
    module = SimpleNamespace(
        output=lambda name: {"test": f}[name],
        split=lambda name: {"test": test}[name],
        loss=loss,
        data=SimpleNamespace(task=task),
    )
    metric = metrics.TestEvaluation()
    values = metric.measure(module)
    assert metric.names(module) == values.keys()
    assert values["loss/test"] == pytest.approx(float(loss(f, test.y)) / 4)
    if task == "classification":
        assert values["accuracy/test"] == 0.75


def exact_loss(model, y):
    train = SimpleNamespace(x=randn(3, 4, dtype=torch.float32), y=y)
    return SimpleNamespace(model=model, loss=SquaredError(), split=lambda name: {"train": train}[name])


@pytest.mark.parametrize("horizon", [0.1, 1.5, 8.0])
def test_the_exact_loss_of_a_float32_model_is_that_of_its_flow_in_float64(horizon):
    torch.manual_seed(0)
    model = NeuralODE(4, 8, 3, activation="tanh", horizon=horizon, solver=Solver("euler", steps=2))
    module, metric = exact_loss(model, randn(3, 3, dtype=torch.float32)), metrics.ExactLoss()
    metric.prepare(module)
    with torch.no_grad():
        fine = Solver("dopri8", rtol=1e-11, atol=1e-11)
        f = model.solved_by(fine).double()(module.split("train").x.double())
    expected = 0.5 * float((f - module.split("train").y).square().sum())
    model.float()
    values = metric.measure(module)
    assert values == {"loss/exact": pytest.approx(expected, rel=1e-7), "loss/exact_ratio": 1.0}


def test_an_exact_loss_that_starts_at_zero_has_no_ratio():
    torch.manual_seed(0)
    model = NeuralODE(4, 8, 3, activation="tanh", subtract_initial_output=True)
    module, metric = exact_loss(model, torch.zeros(3, 3)), metrics.ExactLoss()
    metric.prepare(module)
    values = metric.measure(module)
    assert values["loss/exact"] == 0
    assert math.isnan(values["loss/exact_ratio"])


def test_kink_crossings_are_counted_unit_by_unit_along_the_trajectory():
    torch.manual_seed(0)
    model = TimeDependentODE(4, 6, 2, activation="relu", horizon=2.0, solver=Solver("rk4", steps=7)).double()
    x = randn(5, 4)
    module = SimpleNamespace(model=model, probe=lambda size: Objective(SquaredError(), x[:size], None, None))
    measured = metrics.KinkCrossings(probe_size=5).measure(module)["gradient/kink_crossings"]
    crossings = 0
    with torch.no_grad():
        states = model.solver.trajectory(model.vector_field, model.encode(x), 2.0)
        signs = [model.preactivations(torch.tensor(2.0 * j / 7), h) > 0 for j, h in enumerate(states)]
        for before, then in pairwise(signs):
            for one, other in zip(before.flatten().tolist(), then.flatten().tolist(), strict=True):
                crossings += one != other
    assert crossings > 0
    assert measured == crossings / (5 * 6)


@pytest.mark.parametrize(
    ("ranks", "rows", "shared"), [(1, 5, False), (2, 5, True), (5, 5, True), (6, 5, False), (2, 1, False)]
)
def test_a_kernel_is_shared_where_every_rank_can_have_a_sample(monkeypatch, ranks, rows, shared):
    module = importlib.import_module("ntkode.metrics.shared_kernel")
    monkeypatch.setattr(module, "ranks", lambda: ranks)
    monkeypatch.setattr(module, "measure_ntk", lambda model, x, **options: (False, options))
    monkeypatch.setattr(module, "measure_distributed_ntk", lambda model, x, **options: (True, options))
    options = {"outputs": "full", "max_bytes": REPRODUCIBLE_BYTES}
    assert module.shared_kernel(None, randn(rows, 4), outputs="full") == (shared, options)
