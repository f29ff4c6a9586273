"""Evidence condensed from the records of stored runs."""

import json
import math

import pandas as pd
import pytest

from ntkode.advice.advice_data import AdviceData
from ntkode.advice.collecting import collect, gradient_costs


def runs(study, rows):
    common = {
        "status": "done",
        "config.choices.study": study,
        "config.choices.model": "neural_ode",
        "config.choices.dataset": "here",
        "config.choices.gradient": "backprop",
        "config.choices.activation": "softplus",
        "config.activation._target_": "ntkode.activations.get",
        "config.activation.name": "softplus",
        "config.activation.beta": 1.0,
        "config.solver.method": "rk4",
        "config.model.sigma_w": 2.0,
        "config.model.horizon": 0.5,
        "git.commit": "c0ffee",
        "git.dirty": False,
        "sources_sha256": "5ea",
    }
    return pd.DataFrame([common | {"run_id": f"{study}{i}"} | row for i, row in enumerate(rows)])


def solve(steps=5, seed=0, first=0.01, last=0.01, **more):
    error = "gradient/relative_error"
    errors = {f"{error}.first": first, error: last, "cost/nfe_forward": 20.0}
    return {"config.solver.steps": steps, "config.seed": seed} | errors | more


def errors(frame):
    return {row.activation: row.error for row in collect(frame).gradient}


def test_an_activation_with_other_settings_is_another_one():
    rows = [solve(), solve(first=0.05, **{"config.activation.beta": 4.0})]
    assert errors(runs("gradient_accuracy", rows)) == {"softplus": 0.01, "softplus(beta=4)": 0.05}


def test_concatenated_frames_keep_their_runs_apart():
    tanh = {"config.choices.activation": "tanh", "config.activation.name": "tanh"}
    tanh |= {"config.activation.beta": math.nan}
    joined = pd.concat(
        [runs("gradient_accuracy", [solve()]), runs("gradient_accuracy", [solve(first=0.09, **tanh)])]
    )
    assert joined.index.has_duplicates
    assert errors(joined) == {"softplus": 0.01, "tanh": 0.09}


def test_failed_runs_and_other_models_do_not_count():
    failed, other = {"status": "diverged"}, {"config.choices.model": "resnet"}
    rows = [solve(), solve(first=0.5, **failed), solve(first=0.6, **other)]
    assert errors(runs("gradient_accuracy", rows)) == {"softplus": 0.01}
    assert collect(runs("gradient_accuracy", [solve(**failed)])) == AdviceData()


def test_a_gradient_error_is_the_worst_over_seeds_and_moments():
    rows = [solve(last=0.02), solve(seed=1, first=0.03), solve(math.nan, first=9.0)]  # the last is adaptive
    (stored,) = collect(runs("gradient_accuracy", rows)).gradient
    assert (stored.solver, stored.steps, stored.error, stored.evaluations, stored.runs) == (
        "rk4",
        5,
        0.03,
        20,
        2,
    )


def test_tolerated_errors_are_read_off_the_final_losses():
    rows = [
        {
            "config.solver.steps": 5,
            "config.choices.solver": s,
            "config.seed": 0,
            "gradient/relative_error.first": error,
            "loss/exact": loss,
        }
        for s, error, loss in (("a", 1e-4, 1.0), ("b", 0.02, 1.005), ("c", 0.1, 1.05))
    ]
    one = next(row for row in collect(runs("gradient_training", rows)).tolerated if row.change == 0.01)
    assert (one.enough, one.too_much) == (0.02, 0.1)


def test_costs_are_ratios_to_backprop_of_ntkode_methods(tmp_path):
    def contestant(name, seconds):
        return {"contestant": name, "status": "done", "seconds": seconds}

    one = {
        "contestants": [contestant("backprop", 2.0), contestant("adjoint", 3.0), contestant("torchode", 9.0)]
    }
    two = {"contestants": [contestant("backprop", 1.0), contestant("adjoint", 1.8)]}
    path = tmp_path / "perf.json"
    path.write_text(json.dumps({"settings": [one, two]}))
    costs = {cost.gradient: (cost.seconds, cost.problems) for cost in gradient_costs(path)}
    assert costs == {"backprop": (1.0, 2), "adjoint": (1.8, 2)}
    path.write_text("{}")
    with pytest.raises(ValueError, match="is not a record"):
        gradient_costs(path)
