"""The choice of solver and gradient method from evidence."""

import math

import pytest

from ntkode import activations
from ntkode.advice.advice_data import (
    PACKAGED,
    AdviceData,
    EvidenceUnreadable,
    RelativeCost,
    StoredError,
    Tolerated,
)
from ntkode.advice.prediction import Candidate
from ntkode.advice.rules import bearable, cheapest_solve, longest


def row(solver, steps, error, gamma=1.0, activation="tanh", gradient="backprop", runs=3):
    stages = {"midpoint": 2, "rk4": 4}[solver]
    return StoredError(activation, gamma, "here", solver, gradient, steps, error, stages * steps, runs)


def candidate(name, gamma=1.0):
    return Candidate(activations.get(name), gamma)


COSTS = [RelativeCost("backprop", 1.0, 3), RelativeCost("adjoint", 1.6, 3)]


def test_the_cheapest_solve_within_the_bound_is_taken():
    rows = [row("midpoint", 5, 0.02), row("midpoint", 10, 0.005), row("rk4", 5, 1e-5), row("rk4", 10, 1e-6)]
    adjoint = [row("midpoint", 5, 0.001, gradient="adjoint")]
    evidence = AdviceData(gradient=rows + adjoint, costs=COSTS)
    loose = cheapest_solve(evidence, candidate("tanh"), 0.03)
    assert (loose.row.solver, loose.row.steps, loose.gradient) == ("midpoint", 5, "backprop")
    # Ten midpoint steps take 20 evaluations, like five of RK4; the adjoint's 10 count 1.6 times.
    assert cheapest_solve(evidence, candidate("tanh"), 0.01).gradient == "adjoint"
    tight = cheapest_solve(evidence, candidate("tanh"), 1e-4)
    assert (tight.row.solver, tight.row.steps, tight.cost) == ("rk4", 5, 20)


def test_between_two_horizons_the_larger_error_counts():
    rows = [row("rk4", 5, 1e-3, gamma=1.0), row("rk4", 5, 1e-2, gamma=2.0), row("rk4", 5, 1.0, gamma=4.0)]
    evidence = AdviceData(gradient=rows, costs=COSTS)
    assert cheapest_solve(evidence, candidate("tanh", 1.5), 0.1).row.error == 1e-2
    assert cheapest_solve(evidence, candidate("tanh", 1.0), 0.1).row.error == 1e-3
    rows[1] = row("rk4", 5, 1e-4, gamma=2.0)  # possible with a kink, which may be crossed or not
    assert (
        cheapest_solve(AdviceData(gradient=rows, costs=COSTS), candidate("tanh", 1.5), 0.1).row.error == 1e-3
    )


def test_nothing_is_extrapolated():
    evidence = AdviceData(gradient=[row("rk4", 10, 16e-4), row("rk4", 20, 1e-4)], costs=COSTS)
    assert longest(evidence) == 1.0
    assert cheapest_solve(evidence, candidate("tanh"), 1e-5) is None
    assert cheapest_solve(evidence, candidate("tanh", 3.0), 1.0) is None


def test_an_unmeasured_activation_takes_the_largest_error_of_its_class():
    rows = [
        row("rk4", 5, 1e-3),
        row("rk4", 5, 2e-3, activation="softplus"),
        row("rk4", 5, 0.02, activation="relu"),
    ]
    evidence = AdviceData(gradient=rows, costs=COSTS)
    smooth = cheapest_solve(evidence, candidate("erf"), 0.1)
    assert smooth.row.error == 2e-3
    assert "erf at σ_w·T = 1 was not measured; the error is the largest of softplus, tanh" in smooth.caveat
    assert cheapest_solve(evidence, candidate("elu"), 0.1).row.error == 0.02


def test_beyond_its_measured_horizons_an_activation_takes_the_error_of_others():
    rows = [row("rk4", 5, 1e-3), row("rk4", 5, 0.5, gamma=4.0, activation="gelu")]
    far = cheapest_solve(AdviceData(gradient=rows, costs=COSTS), candidate("tanh", 3.0), 1.0)
    assert far.row.error == 0.5
    assert "the largest of gelu" in far.caveat


def test_the_bound_is_that_of_the_most_sensitive_activation():
    tried = (("tanh", 0.01, 0.05), ("relu", 0.01, 0.03), ("relu", 0.1, 0.2))
    rows = [Tolerated(name, "here", change, e, math.nan, 8) for name, change, e in tried]
    bound, measured = bearable(AdviceData(tolerated=rows))
    assert bound == 0.03
    assert "the largest tried" in measured


def test_the_packaged_evidence_is_complete_and_traceable():
    evidence = AdviceData.read()
    assert evidence.datasets == ["mnist"]
    assert 0 < bearable(evidence)[0] < 1
    assert {row.activation for row in evidence.tolerated} == {"tanh", "softplus", "relu", "gelu"}
    for name in ("tanh", "softplus", "relu", "gelu", "silu", "elu", "erf", "sin"):
        solve = cheapest_solve(evidence, candidate(name, 4.0), bearable(evidence)[0])
        assert (solve.caveat, solve.row.runs) == ("", 3)
    for source in evidence.sources:
        assert source.commit
        assert source.sources_sha256
        assert source.dirty is False
        assert source.runs > 0
    assert {c.gradient for c in evidence.costs} >= {"backprop", "adjoint", "checkpointed"}


def test_the_row_from_more_runs_is_kept():
    few, many = row("rk4", 5, 2.0, runs=2), row("rk4", 5, 3.0, runs=9)
    assert AdviceData(gradient=[many]).joined(AdviceData(gradient=[few])).gradient == [many]
    assert AdviceData(gradient=[few]).joined(AdviceData(gradient=[many])).gradient == [many]


def test_a_corrupt_file_is_named(tmp_path):
    broken = tmp_path / "evidence.json"
    broken.write_text(PACKAGED.read_text()[:200])
    with pytest.raises(EvidenceUnreadable, match=r"evidence=.*evidence\.json cannot be read"):
        AdviceData.read(broken)
