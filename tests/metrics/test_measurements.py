"""Metrics by themselves, without a training: values against loops and formulas, at the edges of each."""

import importlib
import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from tests.reference import dense_full_kernel, dense_trace_kernel
from torch import nn

from ntkode import metrics
from ntkode.gradients import Objective, loss_gradient
from ntkode.gradients.reference import relative_error
from ntkode.integrate import Adjoint, Solver, SolverFailure
from ntkode.losses import CrossEntropy, SquaredError
from ntkode.metrics.limit import has_limit
from ntkode.models import NeuralODE, ResNet, TimeDependentODE
from ntkode.ntk import REPRODUCIBLE_BYTES, network_limit, spectrum
from ntkode.ntk.lanczos import lanczos
from ntkode.theory import contraction_rate


def randn(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def split(rows, outputs=3, labels=None):
    return SimpleNamespace(x=randn(rows, 4), y=randn(rows, outputs, seed=2), labels=labels)


class Drawing(metrics.Metric):
    """Metric that draws random numbers when it measures."""

    def names(self, module):
        return {"drawn"}

    def prepare(self, module):
        torch.rand(3)

    def measure(self, module):
        return {"drawn": float(torch.rand(()))}


class OfTheLoss(metrics.LossMetric):
    """A metric of the loss, every five steps."""

    def names(self, module):
        return {"loss"}

    def measure(self, module):
        return {"loss": module.losses[-1]}


class Failing(Drawing):
    def prepare(self, module):
        raise SolverFailure("no solution")


class Bystander(Drawing):
    def applies(self, module):
        return False


def run(metric, steps=5):
    """The records of a training of these steps, and the seconds that the metric notes: two a call."""
    clock = iter(range(0, 1000, 2))
    records, seconds = {}, []
    module = SimpleNamespace(
        step=0,
        device=torch.device("cpu"),
        clock=lambda: next(clock),
        note_metric_seconds=lambda name, s: seconds.append((name, s)),
    )
    module.record = lambda values: records.setdefault(module.step, values)
    metric.on_train_start(None, module)
    for module.step in range(steps):
        metric.on_train_batch_start(None, module, None, module.step)
    module.step = steps
    metric.on_train_end(None, module)
    return records, seconds


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


CURVE = [2.0 * math.exp(-0.01 * k) if k < 50 else 2.0 * math.exp(-0.5 - 0.002 * (k - 50)) for k in range(71)]


def after(last, **options):
    """A module that has trained for `last` of 70 steps."""
    losses = CURVE[: last + 1]
    return SimpleNamespace(losses=losses, data=SimpleNamespace(steps=70), learning_rate=0.1, **options)


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


def small(**options):
    torch.manual_seed(0)
    solver = Solver("rk4", steps=3)
    return NeuralODE(4, 8, 3, **({"activation": "tanh", "solver": solver} | options)).double()


def probed(model, rows=6, **options):
    """A module whose training set and probe are rows of one set."""
    train = split(rows)
    return SimpleNamespace(
        model=model,
        split=lambda name: {"train": train}[name],
        output=lambda name: {"train": model(train.x).detach()}[name],
        probe=lambda size: Objective(SquaredError(), train.x[:size], train.y[:size]),
        loss=SquaredError(),
        **({"data": SimpleNamespace(train=train, steps=4), "learning_rate": 1e-3} | options),
    )


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
