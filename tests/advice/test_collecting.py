"""Evidence from runs."""

import json
import math

import pandas as pd
import pytest

from ntkode.advice.collecting import collect, gradient_costs
from ntkode.advice.evidence import Evidence


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


def widths(constant=3.0, **more):
    return [
        {
            "config.model.width": n,
            "config.seed": s,
            "ntk/limit_distance.first": constant / math.sqrt(n),
            **more,
        }
        for n in (64, 256)
        for s in (0, 1)
    ]


def test_a_width_law_is_the_median_of_scaled_distances():
    (law,) = collect(runs("width_limit", widths())).width
    assert (law.activation, law.gamma, law.dataset, law.runs) == ("softplus", 1.0, "here", 4)
    assert law.constant == pytest.approx(3.0)
    assert law.slope == pytest.approx(-0.5)


def test_settings_of_an_activation_make_another_one():
    rows = widths() + widths(5.0, **{"config.activation.beta": 4.0})
    laws = {law.activation: law.constant for law in collect(runs("width_limit", rows)).width}
    assert laws == pytest.approx({"softplus": 3.0, "softplus(beta=4)": 5.0})


def test_frames_that_were_joined_keep_their_runs_apart():
    tanh = {"config.choices.activation": "tanh", "config.activation.name": "tanh"}
    tanh |= {"config.activation.beta": math.nan}
    joined = pd.concat([runs("width_limit", widths()), runs("width_limit", widths(9.0, **tanh))])
    assert joined.index.has_duplicates
    laws = {law.activation: (law.low, law.high) for law in collect(joined).width}
    assert laws == {"softplus": pytest.approx((3.0, 3.0)), "tanh": pytest.approx((9.0, 9.0))}


def test_runs_that_failed_or_of_other_models_do_not_count():
    rows = widths() + widths(50.0, status="diverged") + widths(60.0, **{"config.choices.model": "resnet"})
    (law,) = collect(runs("width_limit", rows)).width
    assert law.high == pytest.approx(3.0)
    assert collect(runs("width_limit", widths(status="error"))) == Evidence()


def test_a_gradient_error_is_the_worst_over_seeds_and_moments():
    def of(steps, seed, first, last):
        error = "gradient/relative_error"
        own = {f"{error}.first": first, error: last, "cost/nfe_forward": 20.0}
        return {"config.solver.steps": steps, "config.seed": seed} | own

    rows = [of(5, 0, 0.01, 0.02), of(5, 1, 0.03, 0.01), of(math.nan, 0, 9.0, 9.0)]  # the last is adaptive
    (found,) = collect(runs("gradient_accuracy", rows)).gradient
    assert (found.solver, found.steps, found.error, found.evaluations, found.runs) == ("rk4", 5, 0.03, 20, 2)


def test_what_training_bears_is_read_off_the_final_losses():
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
    assert (one.enough, one.too_much, one.largest) == (0.02, 0.1, 0.1)


def test_costs_are_ratios_to_backprop_of_ntkodes_own_methods(tmp_path):
    def contestant(name, seconds):
        return {"contestant": name, "status": "done", "seconds": seconds, "allocated": 10 * seconds}

    one = {
        "contestants": [contestant("backprop", 2.0), contestant("adjoint", 3.0), contestant("torchode", 9.0)]
    }
    two = {"contestants": [contestant("backprop", 1.0), contestant("adjoint", 1.8)]}
    path = tmp_path / "perf.json"
    path.write_text(json.dumps({"settings": [one, two]}))
    costs = {cost.gradient: (cost.seconds, cost.problems) for cost in gradient_costs(path)}
    assert costs == {"backprop": (1.0, 2), "adjoint": (1.8, 2)}
    path.write_text("{}")
    with pytest.raises(ValueError, match="is no measurement"):
        gradient_costs(path)
