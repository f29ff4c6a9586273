"""Gradient metrics and costs in a small training run: values against definitions."""

import pytest
import torch
from tests.metrics.runs import STEPS, train
from torchdiffeq import odeint

from ntkode import metrics
from ntkode.gradients import Objective, decompose, loss_gradient, sufficient_reference
from ntkode.gradients.reference import relative_error
from ntkode.integrate import Adjoint, Solver
from ntkode.losses import SquaredError


def test_gradient_error_at_the_start(trained, initial):
    train_split = initial.data.train
    offset = initial.get_buffer("_initial_train")[:8]
    objective = Objective(SquaredError(), train_split.x[:8], train_split.y[:8], offset)
    exact = initial.model.solved_by(Solver("dopri8", rtol=1e-12, atol=1e-12))
    expected = relative_error(loss_gradient(initial.model, objective), loss_gradient(exact, objective))
    # The relative error of the metric's reference is at most a fiftieth of the measured error.
    assert trained[1].rows[0]["gradient/relative_error"] == pytest.approx(expected, rel=2e-2)


def test_parts_of_the_gradient_error_at_the_start(trained, initial):
    objective = initial.probe(8)
    gradient = loss_gradient(initial.model, objective)
    expected = decompose(initial.model, objective, sufficient_reference(initial.model, objective, gradient))
    row = trained[1].rows[0]
    for name, part in vars(expected).items():
        assert row[f"gradient/part/{name}"] == part.relative
        assert row[f"gradient/part/{name}/W"] == part.blocks["W"]
    assert row["gradient/part/forward"] > 0


def test_the_exact_loss_is_that_of_the_flow(trained, initial):
    rows, train_split = trained[1].rows, initial.data.train
    fine = Solver("dopri8", rtol=1e-11, atol=1e-11)
    with torch.no_grad():
        outputs = [m.model.solved_by(fine)(train_split.x) for m in (initial, trained[0])]
    losses = [float(initial.loss(f - outputs[0], train_split.y)) for f in outputs]
    # 40 steps of RK4 leave 1e-8.
    assert [rows[k]["loss/exact"] for k in (0, STEPS)] == pytest.approx(losses, rel=1e-6)
    assert rows[STEPS]["loss/exact_ratio"] == pytest.approx(losses[1] / losses[0], rel=1e-6)
    assert rows[STEPS]["loss/exact"] != rows[STEPS]["loss/train"]


def test_the_drift_is_that_of_the_backward_solver():
    drifts = []
    for backward in (None, Solver("euler", steps=2)):
        _, rows = train([metrics.ReverseDrift(probe_size=8)], gradient=Adjoint(backward), steps=1)
        drifts.append(rows.rows[0]["gradient/reverse_drift"])
    assert 100 * drifts[0] < drifts[1]


def test_a_reference_of_too_few_steps_is_refused():
    with pytest.raises(ValueError, match="max_steps=5 must be an integer ≥ 20"):
        metrics.GradientError(max_steps=5)


def test_a_gradient_costs_time_and_memory(trained):
    for step in (0, STEPS):
        row = trained[1].rows[step]
        assert 0 < row["cost/gradient_seconds"] < 10
        # Four steps of four stages, 8 samples, 32 units in float64 are 32 KiB, and W's gradient another 8.
        assert 40 / 1024 < row["cost/gradient_memory"] < 0.5


def test_an_adaptive_run_counts_its_steps():
    solver = Solver("dopri5", rtol=1e-5, atol=1e-5)
    _, rows = train([metrics.Cost()], steps=1, solver=solver, gradient=Adjoint())
    row = rows.rows[0]
    for direction in ("forward", "backward"):
        taken = row[f"cost/steps_{direction}"] + row[f"cost/rejected_{direction}"]
        # dopri5: six evaluations per step, two at the start.
        assert row[f"cost/nfe_{direction}"] == 6 * taken + 2


def test_cost_counts_evaluations(trained):
    row = trained[1].rows[5]
    assert (row["cost/nfe_forward"], row["cost/nfe_backward"]) == (16, 16)
    assert (row["cost/steps_forward"], row["cost/steps_backward"]) == (4, 4)
    assert (row["cost/rejected_forward"], row["cost/rejected_backward"]) == (0, 0)
    by_metric = {n: s for n, s in row.items() if n.startswith("cost/metric_seconds/")}
    assert 0 < by_metric["cost/metric_seconds/NTKSpectrum"] < row["cost/metric_seconds"]
    assert sum(by_metric.values()) == pytest.approx(row["cost/metric_seconds"])
    assert row["cost/step_seconds"] > 0
    assert row["cost/peak_memory"] > 50


def test_adjoint_runs_measure_the_reverse_drift_and_kinks_are_counted():
    probes = [metrics.ReverseDrift(probe_size=8), metrics.KinkCrossings(probe_size=8)]
    module, rows = train(probes, activation="relu", gradient=Adjoint(), steps=2)
    start = module.model.encode(module.data.train.x[:8]).detach()
    final = module.model.flow(start)
    back = module.model.solver.integrate(odeint, module.model.vector_field, final, -1.0).detach()
    expected = float((back - start).norm() / start.norm())
    assert rows.rows[2]["gradient/reverse_drift"] == pytest.approx(expected)
    assert 0.05 < rows.rows[2]["gradient/kink_crossings"] < 1
