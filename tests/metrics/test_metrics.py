"""Metrics in a small training run: values against definitions, and no effect on the training."""

import math

import pytest
import torch
from tests.metrics.runs import STEPS, all_metrics, train
from tests.reference import dense_full_kernel, dense_trace_kernel

from ntkode import metrics
from ntkode.activations import from_callable
from ntkode.data import Sine
from ntkode.integrate import Solver
from ntkode.losses import CrossEntropy
from ntkode.models import NeuralODE
from ntkode.ntk import network_limit, spectrum
from ntkode.theory import contraction_rate, decay_rate
from ntkode.training import Diverged


def test_losses_are_the_same_bit_for_bit_with_and_without_metrics(trained):
    bare, _ = train([])
    assert trained[0].losses == bare.losses
    for measured, unmeasured in zip(trained[0].model.parameters(), bare.model.parameters(), strict=True):
        assert torch.equal(measured, unmeasured)


def test_stochastic_training_is_undisturbed_too():
    runs = [
        train(m, optimizer=torch.optim.Adam, learning_rate=1e-2, batch_size=7)[0].losses
        for m in ([], all_metrics())
    ]
    assert runs[0] == runs[1]


def test_one_row_a_step_and_one_after_the_last(trained):
    module, rows = trained
    assert list(rows.rows) == list(range(STEPS + 1))
    assert list(rows.series("loss/train").values()) == module.losses
    assert rows.rows[3]["loss/ratio"] == module.losses[3] / module.losses[0]
    assert list(rows.series("ntk/lambda_min")) == [0, 8, 16, STEPS]
    assert list(rows.series("loss/local_rate")) == list(range(STEPS))


def test_every_metric_that_applies_delivers_its_names(trained):
    module, rows = trained
    measured = {name for row in rows.rows.values() for name, value in row.items() if math.isfinite(value)}
    for metric in all_metrics():
        if metric.applies(module):
            assert metric.names(module) <= measured
    assert not any("reverse_drift" in name or "kink" in name for name in measured)


def test_loss_starts_at_half_the_squared_targets_and_is_that_of_the_parameters_before_the_step(
    trained, initial
):
    module, rows = trained
    assert module.losses[0] == pytest.approx(0.5 * float(module.data.train.y.square().sum()))
    f, y = module.output("train"), module.data.train.y
    assert rows.rows[STEPS]["loss/train"] == pytest.approx(0.5 * float((f - y).square().sum()))


def test_learning_rate_is_the_inverse_of_the_largest_eigenvalue_of_the_full_kernel(trained, initial):
    x = initial.data.train.x
    exact = float(torch.linalg.eigvalsh(dense_full_kernel(initial.model, x, x))[-1])
    # Thirty Lanczos steps give the top eigenvalue to many digits.
    assert trained[0].learning_rate == pytest.approx(1 / exact, rel=1e-6)


def test_ntk_values_at_the_start(trained, initial):
    x = initial.data.train.x[:12]
    kernel = dense_trace_kernel(initial.model, x, x)
    exact, row = spectrum(kernel), trained[1].rows[0]
    for name in ("lambda_min", "lambda_max", "condition_number", "effective_rank"):
        assert row[f"ntk/{name}"] == pytest.approx(getattr(exact, name), rel=1e-8)
    assert row["ntk/trace"] == pytest.approx(float(kernel.trace()))
    assert row["ntk/drift"] == 0


def test_output_variance_is_that_of_the_output_before_its_start_is_subtracted(trained, initial):
    series = trained[1].series("output/variance")
    assert list(series) == [0, STEPS]
    with torch.no_grad():
        for step, module in ((0, initial), (STEPS, trained[0])):
            f = module.model(initial.data.train.x)
            assert series[step] == pytest.approx(float((f * f).sum()) / f.numel(), rel=1e-12)


def test_ntk_drift_at_the_end(trained, initial):
    x = initial.data.train.x[:12]
    before, after = (dense_trace_kernel(module.model, x, x) for module in (initial, trained[0]))
    expected = float((after - before).norm() / before.norm())
    assert trained[1].rows[STEPS]["ntk/drift"] == pytest.approx(expected, rel=1e-8)


def test_guaranteed_rate_is_below_the_measured_ones(trained, initial):
    module, rows = trained
    x = initial.data.train.x
    smallest = float(torch.linalg.eigvalsh(dense_full_kernel(initial.model, x, x))[0])
    guaranteed = rows.rows[0]["loss/guaranteed_rate"]
    assert guaranteed == pytest.approx(contraction_rate(module.learning_rate, smallest), rel=1e-6)
    assert 0 < guaranteed < rows.rows[STEPS]["loss/decay_rate"]


def test_local_rate_is_the_rayleigh_quotient_of_the_kernel_at_the_residual(trained, initial):
    module, rows = trained
    x, residual = initial.data.train.x, initial.data.train.y.flatten()
    quotient = residual @ dense_full_kernel(initial.model, x, x) @ residual / residual.square().sum()
    expected = contraction_rate(module.learning_rate, float(quotient))
    assert rows.rows[0]["loss/local_rate"] == pytest.approx(expected, rel=1e-8)


def test_predicted_curve_is_linear_gradient_descent_under_the_full_kernel(trained, initial):
    module, rows = trained
    x, residual = initial.data.train.x, initial.data.train.y.flatten()
    kernel = dense_full_kernel(initial.model, x, x)
    start = float(residual.square().sum())
    for step in range(STEPS + 1):
        expected = float(residual.square().sum()) / start
        # Thirty Lanczos steps give the curve to 5e-6 of L₀.
        assert rows.rows[step]["loss/predicted_ratio"] == pytest.approx(expected, abs=1e-5)
        residual = residual - module.learning_rate * kernel @ residual
    gap = max(abs(r["loss/ratio"] - r["loss/predicted_ratio"]) for r in rows.rows.values())
    assert rows.rows[STEPS]["loss/prediction_gap"] == pytest.approx(gap, abs=1e-6)


def test_the_prediction_gap_is_the_supremum_over_the_steps_so_far():
    data = Sine(n_train=2, n_test=2, seed=0, steps=40, dtype="float64")
    _, rows = train([metrics.LossPrediction()], data=data, lr_factor=0.5, steps=40)
    gaps = [abs(row["loss/ratio"] - row["loss/predicted_ratio"]) for row in rows.rows.values()]
    assert gaps[-1] < 0.5 * max(gaps)  # both losses tend to zero: the last gap is not the largest
    suprema = list(rows.series("loss/prediction_gap").values())
    assert suprema == pytest.approx([max(gaps[: step + 1]) for step in range(41)])


def test_limit_distance_and_the_limits_prediction(trained, initial):
    module, rows = trained
    x, residual = initial.data.train.x, initial.data.train.y
    model = initial.model
    # The metric uses the limit of RK4 with 4 steps, 1e-5 from this one with ten times the steps.
    fine = NeuralODE(model.in_features, 8, activation="tanh", solver=Solver("rk4", steps=40))
    limit = network_limit(fine, x).ntk
    kernel = dense_trace_kernel(model, x[:12], x[:12])
    expected = float((kernel - limit[:12, :12]).norm() / limit[:12, :12].norm())
    assert rows.rows[0]["ntk/limit_distance"] == pytest.approx(expected, rel=1e-3)
    assert list(rows.series("ntk/limit_distance")) == [0, STEPS]
    start = float(residual.square().sum())
    for step in range(STEPS + 1):
        ratio = float(residual.square().sum()) / start
        assert rows.rows[step]["loss/predicted_ratio_limit"] == pytest.approx(ratio, rel=1e-3)
        residual = residual - module.learning_rate * limit @ residual


def kinked_away_from_zero(x):
    return torch.tanh(x) + 0.3 * torch.relu(x - 0.5)


@pytest.mark.parametrize(
    "options",
    [
        {"solver": Solver("implicit_adams", steps=4)},
        {"activation": from_callable(torch.sign, "sign")},
        {"activation": from_callable(kinked_away_from_zero)},
        {"solver": Solver("euler", steps=300)},
        {"data": Sine(n_train=8, n_test=4, seed=0, steps=1, dtype="float64")},
    ],
)
def test_where_the_limit_is_not_known_it_does_not_apply(options):
    if "data" in options:
        options["data"].setup()
        options["data"].train.x[3] = 0
    probes = [metrics.LimitDistance(probe_size=4), metrics.LimitPrediction()]
    _, rows = train(probes, steps=1, learning_rate=1e-3, **options)
    assert not any("limit" in name for name in rows.rows[0])


def test_decay_rates_by_window(trained):
    module, rows = trained
    assert list(rows.series("loss/decay_rate")) == [STEPS]
    assert rows.rows[STEPS]["loss/decay_rate/0-24"] == decay_rate(module.losses, 0, STEPS)
    ratio = rows.rows[STEPS]["loss/decay_rate"] / rows.rows[STEPS]["loss/predicted_rate"]
    assert rows.rows[STEPS]["loss/rate_ratio"] == pytest.approx(ratio)


def test_parameter_distance_at_the_end(trained, initial):
    ends = [torch.cat([p.detach().flatten() for p in m.model.parameters()]) for m in (initial, trained[0])]
    expected = float((ends[1] - ends[0]).norm() / ends[0].norm())
    assert trained[1].rows[STEPS]["params/distance"] == pytest.approx(expected)
    assert {n for n in trained[1].rows[0] if n.startswith("params/distance/")} == {
        "params/distance/U", "params/distance/W", "params/distance/v",
    }  # fmt: skip


def test_evaluation_on_the_test_split(trained):
    module, rows = trained
    f, test = module.output("test"), module.data.test
    assert rows.rows[STEPS]["loss/test"] == pytest.approx(0.5 * float((f - test.y).square().sum()) / 20)
    assert rows.rows[STEPS]["accuracy/test"] == float((f.argmax(1) == test.labels).double().mean())
    assert rows.rows[STEPS]["accuracy/test"] > 0.5


def test_theory_metrics_apply_to_plain_gradient_descent_alone():
    theory = [metrics.LossPrediction(), metrics.LocalRate(), metrics.GuaranteedRate()]
    for options in (
        {"loss": CrossEntropy()},
        {"optimizer": torch.optim.Adam, "learning_rate": 1e-3},
        {"optimizer": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9)},
        {"batch_size": 10},
    ):
        _, rows = train(theory, steps=1, **options)
        assert rows.rows[0].keys() == {"loss/train", "loss/ratio"}


def test_regression_has_no_accuracy():
    data = Sine(n_train=16, n_test=8, seed=0, steps=2, dtype="float64")
    _, rows = train([metrics.TestEvaluation()], data=data)
    assert "loss/test" in rows.rows[0]
    assert "accuracy/test" not in rows.rows[0]


def test_learning_rate_that_diverges_is_named_with_its_remedy():
    with pytest.raises(Diverged, match="learning rate") as caught:
        train([], lr_factor=50.0, dtype="float32", steps=400)
    assert "optimizer.lr_factor" in caught.value.remedy


@pytest.mark.filterwarnings("ignore:TestEvaluation at step")
def test_divergence_is_reported_with_any_metrics():
    measures = [metrics.TestEvaluation(), metrics.NTKSpectrum(probe_size=4, every=1)]
    with pytest.raises(Diverged):
        train(measures, activation="relu", lr_factor=30.0, dtype="float32", steps=100)


@pytest.mark.filterwarnings("ignore:GradientError at step")
def test_a_reference_that_blows_up_leaves_the_training_alone():
    # x² blows up in finite time: the reference solve does, three Euler steps do not.
    options = {
        "activation": "quadratic",
        "steps": 3,
        "learning_rate": 1e-6,
        "solver": Solver("euler", steps=3),
    }
    bare, _ = train([], **options)
    module, rows = train([metrics.GradientError(probe_size=4)], **options)
    assert module.losses == bare.losses
    assert math.isnan(rows.rows[0]["gradient/relative_error"])


def test_a_converged_run_continues():
    data = Sine(n_train=1, n_test=2, seed=0, steps=60, dtype="float64")
    cheap = [
        metrics.DecayRate(),
        metrics.LocalRate(),
        metrics.TestEvaluation(every=10),
        metrics.ParameterDistance(every=10),
        metrics.Cost(),
    ]
    module, _ = train(cheap, data=data, steps=60)
    assert module.losses[-1] < 1e-25


def test_a_learning_rate_beyond_stability_guarantees_nothing():
    _, rows = train([metrics.GuaranteedRate()], lr_factor=2.5, steps=1)
    assert rows.rows[0]["loss/guaranteed_rate"] < 0


@pytest.mark.parametrize("factor", [0.0, -1.0, "abc"])
def test_bad_learning_rate_factors_are_named(factor):
    with pytest.raises(ValueError, match=f"optimizer.lr_factor={factor}"):
        train([], lr_factor=factor)


@pytest.mark.parametrize("lr", [0.0, -1.0, math.nan, "fast"])
def test_bad_learning_rates_are_named(lr):
    with pytest.raises(ValueError, match=f"optimizer.lr={lr}"):
        train([], learning_rate=lr)


@pytest.mark.parametrize("every", [0, -3, 2.5])
def test_bad_schedule_is_named(every):
    with pytest.raises(ValueError, match=f"every={every}"):
        metrics.NTKSpectrum(every=every)
