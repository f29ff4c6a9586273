"""The settings that a trial compares, and its comparison."""

import math

import pandas as pd
import pytest

from ntkode.advice.trial import settings_of, trial_table, verdicts

ADVICE = {
    "steps": 40,
    "overrides": ["activation=gelu", "model.sigma_w=2"],
    "asked": {
        "activations": ["tanh", "relu"],
        "gammas": [0.5, 1.0],
        "widths": [64, 128, 2048],
        "horizon": 2.0,
    },
}


def test_settings_take_the_advised_steps_and_random_ones_the_requested_candidates():
    settings = settings_of(ADVICE, 20, draw=0)
    assert [s.name for s in settings[:3]] == ["advised", "default", "random 1"]
    assert all("steps=40" in s.overrides for s in settings)
    assert settings[0].overrides[:2] == ("activation=gelu", "model.sigma_w=2")
    drawn = [dict(pair.split("=") for pair in s.overrides) for s in settings[2:]]
    assert {d["activation"] for d in drawn} == {"tanh", "relu"}
    assert {d["model.sigma_w"] for d in drawn} == {"0.25", "0.5"}  # σ_w·T over T
    assert {d["width"] for d in drawn} == {"w64", "w128"}
    assert settings == settings_of(ADVICE, 20, draw=0)
    assert settings != settings_of(ADVICE, 20, draw=1)


def runs(**errors):
    rows = [
        {
            "setting": name,
            "overrides": f"activation={name}",
            "seed": seed,
            "run_id": f"{name}{seed}",
            "status": "done" if not math.isnan(error) else "diverged",
            "error": error,
            "loss": error,
            "seconds": 1.0,
        }
        for name, values in errors.items()
        for seed, error in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_a_verdict_is_paired_by_seed():
    (verdict,) = verdicts(runs(advised=[0.1, 0.3, 0.2], default=[0.2, 0.4, 0.3]))
    assert verdict.difference == pytest.approx(-0.1)
    assert verdict.noise == pytest.approx(0.0, abs=1e-12)  # the same on every seed, however seeds differ
    assert (verdict.wins, verdict.seeds) == (3, 3)


def test_a_default_with_less_error_wins():
    (verdict,) = verdicts(runs(advised=[0.3, 0.2], default=[0.1, 0.1]))
    assert verdict.difference == pytest.approx(0.15)
    assert verdict.wins == 0


def test_a_run_that_is_not_done_counts_on_neither_side():
    (verdict,) = verdicts(runs(advised=[0.1, 0.3], default=[math.nan, 0.4]))
    assert (verdict.difference, verdict.seeds) == (pytest.approx(-0.1), 1)
    table = trial_table(runs(advised=[0.1, 0.3], default=[math.nan, 0.4]))
    assert [text.split(" ± ")[0] for text in table.columns[1].cells] == ["0.2", "0.4"]  # done runs
