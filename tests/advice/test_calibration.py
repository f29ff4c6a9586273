"""Time and memory of a training, measured on its first steps."""

import pytest

from ntkode.advice.calibration import TrainingCost, measure_cost, measure_memory
from ntkode.advice.measurements import TIMED
from ntkode.studies.preparation import build_model, read_data, seed_everything, training_module

GIVEN = ("dataset=digits", "n_train=40", "dataset.n_test=50", "model.width=16", "solver.steps=4")


def test_run_seconds_add_up_start_steps_and_evaluations():
    cost = TrainingCost(64, step=0.1, evaluation=0.5, every=10, start=2.0, lambda_max=1.0)
    assert cost.run(100) == pytest.approx(2.0 + 100 * 0.1 + 10 * 0.5)
    assert cost.steps_within(cost.run(100) + 1e-9) == 100
    assert cost.steps_within(1.9) == 0


def test_the_timed_steps_are_those_of_the_training(composed):
    config = composed(*GIVEN, *TIMED)
    data = read_data(config)
    cost = measure_cost(config, data)
    assert min(cost.step, cost.evaluation, cost.start) > 0
    assert (cost.width, cost.every) == (16, config["metrics"]["evaluation"]["every"])
    # λ_max is that of the run, with the run's seed.
    seed_everything(config)
    model = build_model(config, data, data.train.x.device)
    module = training_module(config, data, model, "auto")
    assert cost.lambda_max == pytest.approx(config["optimizer"]["lr_factor"] / module.learning_rate)


def test_a_wider_network_takes_more_memory(composed):
    taken = []
    for width in (16, 256):
        config = composed(*GIVEN, f"model.width={width}")
        taken.append(measure_memory(config, read_data(config)))
    # The states and stages of 40 samples are 16 times as large.
    assert taken[1] > 4 * taken[0] > 0
