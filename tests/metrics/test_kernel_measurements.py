"""Metrics of kernels and gradients by themselves, without a training: values against dense kernels."""

import importlib
import math
from types import SimpleNamespace

import pytest
import torch
from tests.metrics.modules import OfTheLoss, after, probed, randn, small
from tests.reference import dense_full_kernel, dense_trace_kernel
from torch import nn

from ntkode import metrics
from ntkode.gradients import Objective, loss_gradient
from ntkode.gradients.reference import relative_error
from ntkode.integrate import Adjoint, Solver
from ntkode.losses import CrossEntropy, SquaredError
from ntkode.ntk import network_limit, spectrum
from ntkode.ntk.lanczos import lanczos


def test_the_spectrum_is_that_of_the_probes_kernel_and_the_drift_is_from_the_first_one():
    model = small()
    module, metric = probed(model), metrics.NTKSpectrum(probe_size=5)
    x, y = (getattr(module.split("train"), name)[:5] for name in ("x", "y"))
    metric.prepare(module)
    assert metric.measure(module)["ntk/drift"] == 0
    first = dense_trace_kernel(model, x, x)
    with torch.no_grad():
        model.W.add_(0.5)
    values, kernel = metric.measure(module), dense_trace_kernel(model, x, x)
    assert values.keys() == metric.names(module)
    assert values["ntk/drift"] == pytest.approx(float((kernel - first).norm() / first.norm()), rel=1e-9)
    assert values["ntk/trace"] == pytest.approx(float(kernel.diagonal().sum()), rel=1e-12)
    assert values["ntk/lambda_min"] == pytest.approx(spectrum(kernel).lambda_min, rel=1e-9)
    centre = torch.eye(5, dtype=torch.float64) - 0.2
    a, b = (centre @ matrix @ centre for matrix in (kernel, y @ y.T))
    assert values["ntk/alignment"] == pytest.approx(float((a * b).sum() / (a.norm() * b.norm())), rel=1e-9)
    metric.prepare(module)
    assert metric.measure(module)["ntk/drift"] == 0


@pytest.mark.parametrize("learning_rate", [1e-3, 1.0])
def test_the_guaranteed_rate_is_the_slowest_of_the_spectrum(learning_rate):
    module, metric = probed(small(), learning_rate=learning_rate), metrics.GuaranteedRate()
    x = module.split("train").x
    eigenvalues = torch.linalg.eigvalsh(dense_full_kernel(module.model, x, x)).tolist()
    metric.prepare(module)
    expected = min(-2 * math.log(abs(1 - learning_rate * v)) for v in eigenvalues)
    assert metric.measure(module)["loss/guaranteed_rate"] == pytest.approx(expected, rel=1e-6)


def test_a_singular_kernel_guarantees_nothing():
    module, metric = probed(small().float(), learning_rate=0.1), metrics.GuaranteedRate()
    train = module.split("train")
    train.x[1] = train.x[0] + 3e-7  # λ_min is not zero, but below what a float32 solve resolves
    train.x = train.x.float()
    assert 0 < float(torch.linalg.eigvalsh(dense_full_kernel(small(), train.x, train.x))[0]) < 1e-10
    metric.prepare(module)
    assert metric.measure(module) == {"loss/guaranteed_rate": 0.0}


@pytest.mark.parametrize(
    ("rows", "most", "descends", "applies"),
    [
        (7, 7, True, True),
        (8, 7, True, False),
        (7, 7, False, False),
        # Two kernels of float64 lie within 2³¹ bytes up to √2²⁷ = 11585.2 rows.
        (11_585, 20_000, True, True),
        (11_586, 20_000, True, False),
    ],
)
def test_a_full_kernel_is_formed_where_it_fits(rows, most, descends, applies):
    data = SimpleNamespace(train=SimpleNamespace(y=torch.empty(rows, 1)))
    module = SimpleNamespace(data=data, descends_gradient=descends)
    assert metrics.GuaranteedRate(max_rows=most).applies(module) is applies


def test_the_distance_from_the_limit_is_relative_to_the_limit():
    module, metric = probed(small()), metrics.LimitDistance(probe_size=5)
    x = module.split("train").x[:5]
    assert metric.applies(module)
    metric.prepare(module)
    limit, kernel = network_limit(module.model, x).ntk, dense_trace_kernel(module.model, x, x)
    expected = float((kernel - limit).norm() / limit.norm())
    assert metric.measure(module)["ntk/limit_distance"] == pytest.approx(expected, rel=1e-4)


def test_predicted_losses_are_those_of_linear_gradient_descent():
    model = small()
    module = probed(model, learning_rate=0.02)
    train = module.split("train")
    residual = module.output("train") - train.y
    kernels = {
        metrics.LossPrediction: dense_full_kernel(model, train.x, train.x),
        metrics.LimitPrediction: torch.kron(
            network_limit(model, train.x).ntk, torch.eye(3, dtype=torch.float64)
        ),
    }
    full = kernels[metrics.LossPrediction]
    module.initial_measure = lanczos(lambda v: (full @ v.flatten()).view_as(v), residual, iterations=18)
    for metric_type, kernel in kernels.items():
        metric, r = metric_type(), residual.flatten()
        metric.prepare(module)
        for _ in range(4):
            r = r - 0.02 * kernel @ r
        module.losses = [0.5 * float(residual.square().sum())] * 5
        values = metric.measure(module)
        ratio = float(r.square().sum() / residual.square().sum())
        (name,) = (name for name in values if "predicted_ratio" in name)
        assert values[name] == pytest.approx(ratio, rel=1e-4)
        if metric_type is metrics.LossPrediction:
            assert values["loss/prediction_gap"] == pytest.approx(1 - ratio, rel=1e-4)


def test_a_predicted_curve_starts_at_the_initial_loss_in_float64():
    module = probed(small().float(), rows=50)
    train = module.split("train")
    train.x, train.y = train.x.float(), train.y.float()
    residual = module.output("train") - train.y
    assert residual.dtype == torch.float32
    module.initial_measure = lanczos(lambda v: v, residual.double(), iterations=2)
    module.losses = [0.5 * sum(float(r) ** 2 for r in residual.flatten())]
    metric = metrics.LossPrediction()
    metric.prepare(module)
    assert metric.measure(module)["loss/predicted_ratio"] == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "descends", "options", "applies"),
    [(6, True, {}, True), (5, True, {}, False), (6, False, {}, False), (6, True, {"sigma_w": 9.0}, False)],
)
def test_the_limits_prediction_applies_to_descent_on_a_set_that_fits(rows, descends, options, applies):
    module = probed(small(**options), descends_gradient=descends)
    assert metrics.LimitPrediction(max_rows=rows).applies(module) is applies


def test_costs_are_read_off_the_counters(monkeypatch):
    passes = [SimpleNamespace(evaluations=10 * j, accepted=10 * j + 1, rejected=10 * j + 2) for j in (1, 2)]
    module = SimpleNamespace(
        step_cost=SimpleNamespace(forward=passes[0], backward=passes[1]),
        step_seconds=0.25,
        metric_seconds=7.5,
        seconds_by_metric={"Cost": 1.5, "ExactLoss": 6.0},
        device=torch.device("cpu"),
    )
    cost = importlib.import_module("ntkode.metrics.cost")
    usage = SimpleNamespace(ru_maxrss=3 * 2**20)
    monkeypatch.setattr(cost.resource, "getrusage", lambda who: usage)
    expected = {
        "cost/nfe_forward": 10, "cost/steps_forward": 11, "cost/rejected_forward": 12,
        "cost/nfe_backward": 20, "cost/steps_backward": 21, "cost/rejected_backward": 22,
        "cost/step_seconds": 0.25, "cost/metric_seconds": 7.5,
        "cost/metric_seconds/Cost": 1.5, "cost/metric_seconds/ExactLoss": 6.0,
    }  # fmt: skip
    for platform, mebibytes in (("linux", 3 * 2**10), ("darwin", 3)):
        monkeypatch.setattr(cost.sys, "platform", platform)
        assert metrics.Cost().measure(module) == expected | {"cost/peak_memory": mebibytes}
    names = metrics.Cost().names(module)
    assert names == {n for n in expected if "seconds/" not in n} | {"cost/peak_memory"}


def test_a_gradients_cost_is_the_shortest_of_three_and_the_peak_of_one(monkeypatch):
    cost = importlib.import_module("ntkode.metrics.gradient_cost")
    calls = []
    monkeypatch.setattr(
        cost, "loss_gradient", lambda model, objective: calls.append((model, len(objective.x)))
    )

    def peak(call, device):
        call()
        return 3 * 2**19

    monkeypatch.setattr(cost, "allocated_peak", peak)
    module = probed(small(), device=torch.device("cpu"))
    module.clock = iter([0.0, 5.0, 10.0, 12.0, 20.0, 24.0]).__next__
    values = metrics.GradientCost(probe_size=5).measure(module)
    assert values == {"cost/gradient_seconds": 2.0, "cost/gradient_memory": 1.5}
    assert calls == [(module.model, 5)] * 4


def test_the_output_variance_is_a_mean_in_float64_and_is_measured_twice_in_a_run():
    model = small().float()
    train = SimpleNamespace(x=randn(50, 4, dtype=torch.float32))
    module = SimpleNamespace(model=model, split=lambda name: {"train": train}[name])
    expected = sum(float(f) ** 2 for f in model(train.x).detach().flatten()) / 150
    metric = metrics.OutputVariance()
    assert metric.measure(module)["output/variance"] == pytest.approx(expected, rel=1e-12)
    assert metric.every is None


@pytest.mark.parametrize("loss", [SquaredError(), CrossEntropy()])
def test_the_gradients_error_is_that_of_the_loss_with_its_offset(loss):
    model, x = small(), randn(5, 4)
    y = torch.eye(3, dtype=torch.float64)[[0, 2, 1, 1, 0]]
    objective = Objective(loss, x, y, 3 * randn(5, 3, seed=7))
    exact = model.solved_by(Solver("dopri8", rtol=1e-12, atol=1e-12))
    expected = relative_error(loss_gradient(model, objective), loss_gradient(exact, objective))
    module = SimpleNamespace(model=model, probe=lambda size: objective)
    values = metrics.GradientError(probe_size=5).measure(module)
    assert values["gradient/relative_error"] == pytest.approx(expected, rel=2e-2)
    assert values["gradient/relative_error"] > 1e-6
    assert values.keys() > metrics.GradientError().names(module)
    parts = metrics.GradientDecomposition(probe_size=5).measure(module)
    # Vectors that sum to the error.
    *others, largest = sorted(
        [expected] + [parts[f"gradient/part/{n}"] for n in ("rounding", "backward", "forward")]
    )
    assert largest <= 1.02 * sum(others)
    assert parts["gradient/part/forward"] > 0.1 * expected
    assert {name.rpartition("/")[2] for name in parts if name.count("/") == 3} == {"U", "W", "v"}


def test_a_reference_is_refined_up_to_max_steps():
    # The solve's own error is so small that only the bound ends the refinement.
    module = probed(small(sigma_w=2.0, solver=Solver("dopri8", rtol=1e-12, atol=1e-12)))
    coarse, fine = (
        metrics.GradientError(probe_size=2, max_steps=steps).measure(module)["gradient/reference_error"]
        for steps in (20, 40)
    )
    assert fine < coarse / 8  # RK4: a factor of 2⁴
    parts = [
        metrics.GradientDecomposition(probe_size=2, max_steps=steps).measure(module)["gradient/part/forward"]
        for steps in (20, 40)
    ]
    assert parts[1] < parts[0] / 8  # what is left is the reference's own error


@pytest.mark.parametrize(("gradient", "steps"), [(Adjoint(), 5), (Adjoint(Solver("euler", steps=9)), 9)])
def test_the_drift_is_measured_with_the_solver_of_the_backward_pass(gradient, steps):
    model = small(solver=Solver("euler", steps=5), gradient=gradient)
    module, metric = probed(model), metrics.ReverseDrift(probe_size=5)
    assert metric.applies(module)
    with torch.no_grad():
        start = model.encode(module.split("train").x[:5])
        h = model.flow(start)
        for _ in range(steps):
            h = h - model.vector_field(torch.tensor(0.0), h) / steps
    measured = metric.measure(module)["gradient/reverse_drift"]
    assert measured == pytest.approx(float((h - start).norm() / start.norm()), rel=1e-10)
    assert not metric.applies(probed(small()))


def test_metrics_of_the_loss_are_measured_after_the_step_and_the_local_rate_before_it():
    for metric, hook, arguments in (
        (OfTheLoss(every=5), "on_train_batch_end", (None, None, 21)),
        (OfTheLoss(every=5), "on_train_batch_end", (None, None, 20)),
        (metrics.LocalRate(every=5), "on_before_optimizer_step", (None,)),
    ):
        metric.active = metric._prepared = True
        module = after(20, model=nn.Linear(2, 1), step=20, device=torch.device("cpu"), clock=lambda: 0.0)
        records = []
        module.record, module.note_metric_seconds = records.append, lambda name, s: None
        metric.on_train_batch_start(None, module, None, 20)
        assert records == []
        getattr(metric, hook)(None, module, *arguments)
        assert len(records) == (21 not in arguments)
    module.step = 21  # not a multiple of five
    metric.on_before_optimizer_step(None, module, None)
    metric.on_train_end(None, module)
    assert len(records) == 1


def test_windows_may_end_at_any_step_and_what_is_fixed_at_the_start_is_measured_at_the_ends():
    assert metrics.DecayRate().every == metrics.LossPrediction().every == metrics.LimitPrediction().every == 1
    assert metrics.GuaranteedRate().every is None
