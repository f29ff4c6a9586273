"""A small synthetic results folder, made with the interface of the records."""

import math

import numpy as np
import pytest

from ntkode.results import RunRecord, SweepIndex, run_id, summarise

STEPS = 200
# Rate per step, λ_min, gradient error, as large as in real runs.
CASES = {
    "tanh": (0.0096, 9.4e-2, 1.2e-6),
    "softplus": (0.0047, 3.3e-2, 2.1e-7),
    "relu": (0.0089, 1.7e-1, 3.4e-3),
}


def make_config(activation, seed=0, /, **changes):
    return {
        "choices": {"dataset": "mnist", "model": "neural_ode", "activation": activation, "solver": "rk4"},
        "model": {"width": 256},
        "activation": {"_target_": "ntkode.activations.get", "name": activation},
        "optimizer": {"lr": "auto"},
        "seed": seed,
        "steps": STEPS,
        **changes,
    }


def make_row(activation, step, seed=0):
    rate, lambda_min, error = CASES[activation]
    noise = np.random.default_rng([seed, step]).normal()
    ratio = math.exp(-rate * step * (1 + 0.1 * seed)) * 0.9 + 0.1
    row = {
        "step": step,
        "loss/train": 0.45 * ratio,
        "loss/ratio": ratio,
        "loss/predicted_ratio": math.exp(-rate * 1.04 * step) * 0.9 + 0.1,
        "cost/run_seconds": 0.6 * step,
    }
    if step % 10 == 0:
        row |= {
            "ntk/lambda_min": lambda_min * (1 - 2e-4 * step + 5e-3 * noise),
            "ntk/resolution": 1e-11,
            "ntk/drift": rate * 8 * (1 - math.exp(-step / 60)),
        }
    if step % 20 == 0:
        row |= {"gradient/relative_error": error * math.exp(0.1 * noise)}
    if step == STEPS:
        row |= {"accuracy/test": 0.873, "loss/decay_rate": rate, "loss/predicted_rate": 1.04 * rate}
    return row


def store_run(
    results_dir,
    activation,
    /,
    *,
    seed=0,
    sweep="s",
    steps=STEPS,
    status="done",
    message="",
    remedy="",
    **changes,
):
    config = make_config(activation, seed, **changes)
    record = RunRecord.open(results_dir, run_id(config))
    SweepIndex(results_dir, sweep).add(
        record.run_id, f"activation={activation} seed={seed} {changes or ''}".strip()
    )
    record.begin(config)
    for step in range(steps + 1):
        record.append(make_row(activation, step, seed))
    record.write_summary(summarise(record.history()))
    record.finish(status, message, remedy)
    return record


@pytest.fixture
def store(tmp_path):
    """Store a run in the folder `store.results_dir`."""

    def call(activation, /, **options):
        return store_run(tmp_path, activation, **options)

    call.results_dir = tmp_path
    return call
