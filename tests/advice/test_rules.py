"""Width, solver and gradient method from evidence."""

import math

import pytest

from ntkode import activations
from ntkode.advice.evidence import (
    PACKAGED,
    Evidence,
    EvidenceUnreadable,
    GradientCost,
    GradientError,
    Tolerated,
    WidthLaw,
)
from ntkode.advice.prediction import Candidate
from ntkode.advice.rules import bearable, cheapest_way, width_need


def law(activation, gamma, constant, runs=9):
    return WidthLaw(activation, gamma, "here", constant, constant, constant, -0.5, 0.01, [64, 256], runs)


def row(solver, steps, error, gamma=1.0, activation="tanh", gradient="backprop", runs=3):
    stages = {"midpoint": 2, "rk4": 4}[solver]
    return GradientError(activation, gamma, "here", solver, gradient, steps, error, stages * steps, runs)


def candidate(name, gamma=1.0):
    return Candidate(activations.get(name), gamma)


COSTS = [GradientCost("backprop", 1.0, 1.0, 3), GradientCost("adjoint", 1.6, 0.5, 3)]


def test_width_follows_the_law():
    need = width_need(Evidence(width=[law("tanh", 1.0, 3.0)]), candidate("tanh"), 0.2)
    assert need.width == 225
    assert need.at(225) == pytest.approx(0.2)
    assert need.thin == ""


def test_the_constant_between_horizons_is_interpolated_and_beyond_them_extended():
    evidence = Evidence(width=[law("tanh", 1.0, 2.0), law("tanh", 2.0, 8.0)])
    assert width_need(evidence, candidate("tanh", 1.5), 0.2).constant == pytest.approx(4.0)
    assert width_need(evidence, candidate("tanh", 0.5), 0.2).constant == pytest.approx(2.0)
    beyond = width_need(evidence, candidate("tanh", 3.0), 0.2)
    assert beyond.constant == pytest.approx(32.0)
    assert "outside 1 to 2" in beyond.thin


def test_an_activation_that_was_not_measured_takes_the_largest_constant_and_says_so():
    evidence = Evidence(width=[law("tanh", 1.0, 2.0), law("relu", 1.0, 3.0)])
    need = width_need(evidence, candidate("erf"), 0.2)
    assert need.constant == pytest.approx(3.0)
    assert "erf was not measured" in need.thin
    assert "relu" in need.thin


def test_the_cheapest_way_within_the_bound_is_taken():
    rows = [row("midpoint", 5, 0.02), row("midpoint", 10, 0.005), row("rk4", 5, 1e-5), row("rk4", 10, 1e-6)]
    adjoint = [row("midpoint", 5, 0.001, gradient="adjoint")]
    evidence = Evidence(gradient=rows + adjoint, costs=COSTS)
    assert (loose := cheapest_way(evidence, candidate("tanh"), 0.03)).solver == "midpoint"
    assert (loose.steps, loose.gradient) == (5, "backprop")
    # Midpoint's ten steps take 20 evaluations as RK4's five do; the adjoint's 10 count 1.6 times.
    assert cheapest_way(evidence, candidate("tanh"), 0.01).gradient == "adjoint"
    tight = cheapest_way(evidence, candidate("tanh"), 1e-4)
    assert (tight.solver, tight.steps, tight.cost) == ("rk4", 5, 20)


def test_steps_grow_beyond_what_was_measured_and_that_is_told():
    evidence = Evidence(gradient=[row("rk4", 10, 16e-4), row("rk4", 20, 1e-4)], costs=COSTS)
    finer = cheapest_way(evidence, candidate("tanh"), 1e-4 / 16)  # order 4: twice the steps
    assert finer.steps == 40
    assert "order 4.0" in finer.thin
    longer = cheapest_way(evidence, candidate("tanh", 3.0), 16e-4)
    assert longer.steps == 30
    assert "up to σ_w·T = 1 only" in longer.thin


def test_a_longer_horizon_bounds_a_shorter_one_from_above():
    rows = [row("rk4", 5, 1e-3, gamma=1.0), row("rk4", 5, 1e-2, gamma=2.0)]
    assert cheapest_way(Evidence(gradient=rows, costs=COSTS), candidate("tanh", 1.5), 0.1).error == 1e-2


def test_an_activation_that_was_not_measured_takes_the_worst_as_smooth_one():
    rows = [
        row("rk4", 5, 1e-3),
        row("rk4", 5, 2e-3, activation="softplus"),
        row("rk4", 5, 0.02, activation="relu"),
    ]
    evidence = Evidence(gradient=rows, costs=COSTS)
    smooth = cheapest_way(evidence, candidate("erf"), 0.1)
    assert smooth.error == 2e-3
    assert "erf was not measured: as softplus" in smooth.thin
    assert cheapest_way(evidence, candidate("elu"), 0.1).error == 0.02


def test_no_way_within_the_bound_is_an_error_that_says_what_to_try():
    evidence = Evidence(gradient=[row("midpoint", 5, 0.02), row("midpoint", 10, 0.019)], costs=COSTS)
    with pytest.raises(ValueError, match=r"no measured solver .* gammas=1"):
        cheapest_way(evidence, candidate("tanh"), 1e-6)


def test_the_bound_is_that_of_the_most_sensitive_activation():
    tried = (("tanh", 0.01, 0.05), ("relu", 0.01, 0.03), ("relu", 0.1, 0.2))
    rows = [Tolerated(name, "here", change, e, math.nan, e, 8) for name, change, e in tried]
    bound, told = bearable(Evidence(tolerated=rows))
    assert bound == 0.03
    assert "the largest tried" in told


def test_the_packaged_evidence_is_whole_and_traceable():
    evidence = Evidence.read()
    assert evidence.datasets == ["mnist"]
    assert {w.activation for w in evidence.width} >= {"tanh", "relu", "softplus"}
    # The rate of the theory, within what a few seeds tell.
    fitted = [w for w in evidence.width if len(w.widths) > 2]
    assert all(abs(w.slope + 0.5) <= max(w.half_width, 0.1) for w in fitted)
    assert 0 < bearable(evidence)[0] < 1
    assert all(source.commit and source.runs > 0 for source in evidence.sources)
    assert {c.gradient for c in evidence.costs} >= {"backprop", "adjoint", "checkpointed"}


def test_what_rests_on_more_runs_counts():
    few, many = law("tanh", 1.0, 2.0, runs=2), law("tanh", 1.0, 3.0, runs=9)
    assert Evidence(width=[many]).joined(Evidence(width=[few])).width == [many]
    assert Evidence(width=[few]).joined(Evidence(width=[many])).width == [many]


def test_a_damaged_file_is_named(tmp_path):
    broken = tmp_path / "evidence.json"
    broken.write_text(PACKAGED.read_text()[:200])
    with pytest.raises(EvidenceUnreadable, match=r"evidence=.*evidence\.json cannot be read"):
        Evidence.read(broken)
