"""How a budget reduces width and steps, and how memory changes the gradient method."""

from dataclasses import replace

import pytest
import torch

from ntkode.advice.advice_data import AdviceData
from ntkode.advice.calibration import TrainingCost
from ntkode.advice.measurements import Measurements, Request
from ntkode.advice.plan import make_plan
from ntkode.advice.width import WidthNeed

GIVEN = ("dataset=digits", "n_train=60", "dataset.n_test=50")
STEPS = (5, 10, 20, 40)
WIDTHS = (64, 128, 256, 512)


class TimedByWidth(Measurements):
    """Costs are set, so that tests know them: n/1000 seconds per step and one second for the start."""

    def cost(self, overrides):
        width = int(dict(pair.split("=") for pair in overrides)["width"].removeprefix("w"))
        return TrainingCost(width, step=width / 1000, evaluation=0.0, every=10, start=1.0, lambda_max=1.0)


@pytest.fixture(scope="module")
def measurements(composed):
    request = Request(("tanh",), (1.0,), WIDTHS, rows=60)
    return TimedByWidth(request, lambda more: composed(*GIVEN, *more), AdviceData.read())


@pytest.fixture(scope="module")
def option(measurements):
    return measurements.option(measurements.candidates[0], STEPS)


@pytest.fixture
def plan_of(measurements, option, monkeypatch):
    def call(distance=0.35, **limits):
        monkeypatch.setattr(
            measurements, "request", replace(measurements.request, distance=distance, **limits)
        )
        asked = replace(option, need=WidthNeed(option.need.measured, distance))
        return make_plan(measurements, [asked], STEPS, notify=lambda _: None)

    return call


def test_without_a_budget_the_wanted_width_is_timed_and_run(plan_of):
    plan = plan_of()
    assert plan.fit.width == plan.wanted == 256
    assert plan.distances[-1].mean <= 0.35
    assert plan.steps == plan.judged
    assert [fit.width for fit in plan.timed] == [256]


def test_a_large_budget_changes_nothing(plan_of):
    free, rich = plan_of(), plan_of(budget=1000.0)
    assert (rich.fit.width, rich.steps, rich.overrides) == (free.fit.width, free.steps, free.overrides)


def test_the_width_is_reduced_before_the_steps(plan_of):
    free = plan_of()
    plan = plan_of(budget=1.0 + 0.15 * free.steps)
    assert (plan.fit.width, plan.wanted, plan.steps) == (128, 256, free.steps)
    assert plan.seconds <= 1.0 + 0.15 * free.steps
    assert "width=w128" in plan.overrides


def test_the_steps_are_reduced_at_the_narrowest_width(plan_of):
    plan = plan_of(budget=1.0 + 0.064 * 3.5)
    assert (plan.fit.width, plan.steps) == (64, 3)


def test_a_budget_below_one_step_is_an_error_with_a_remedy(plan_of):
    with pytest.raises(ValueError, match=r"budget=1 seconds is too short: one step .* n_train, or budget="):
        plan_of(budget=1.0)


def test_a_width_at_which_the_law_does_not_hold_is_skipped(plan_of):
    """The law's width is measured as well: if 256 just exceeds the distance, 512 is taken."""
    at_256 = plan_of().distances[-1].mean
    plan = plan_of(distance=at_256 * 0.999)
    assert plan.wanted == 512
    assert [measured.width for measured in plan.distances] == [256, 512]


def test_memory_is_met_by_a_gradient_method_that_needs_less(plan_of):
    backprop = plan_of(memory=1000.0)
    assert backprop.fit.solve.gradient == "backprop"
    lean = plan_of(memory=backprop.fit.memory * 0.9)
    assert lean.fit.solve.gradient == "checkpointed"
    assert lean.fit.memory < backprop.fit.memory
    assert "gradient=checkpointed" in lean.overrides
    narrower = plan_of(memory=lean.fit.memory * 0.5)
    assert narrower.fit.width < 256
    assert narrower.fit.memory <= lean.fit.memory * 0.5
    with pytest.raises(ValueError, match=r"is too little for a gradient at width 64 .* memory="):
        plan_of(memory=0.01)


def test_memory_is_measured_at_the_width_that_is_run(plan_of):
    """The budget allows width 64 only, whose backprop needs far less memory than the wanted width's."""
    narrow = plan_of(budget=1.35, memory=1000.0)
    assert narrow.fit.width == 64
    both = plan_of(budget=1.35, memory=narrow.fit.memory * 1.3)
    assert (both.fit.width, both.fit.solve.gradient) == (64, "backprop")
    # Garbage collection within the call may free a few per cent earlier.
    assert both.fit.memory == pytest.approx(narrow.fit.memory, rel=0.1)


def test_a_small_budget_takes_the_fewest_steps_tied_with_its_best(measurements, option, monkeypatch):
    errors = {5: 18, 10: 30, 20: 6, 40: 6}  # wrong samples of 60: within the budget 5 steps are better
    wrong = {k: torch.tensor([1.0] * n + [0.0] * (60 - n)).double() for k, n in errors.items()}
    altered = replace(option, prediction=replace(option.prediction, errors=wrong))
    monkeypatch.setattr(
        measurements, "request", replace(measurements.request, distance=0.35, budget=1.0 + 0.064 * 11)
    )
    plan = make_plan(measurements, [altered], STEPS, notify=lambda _: None)
    assert (plan.judged, plan.steps, plan.fit.width) == (5, 5, 128)  # five steps of 0.128 s fit as well
    assert plan.ranked[0].tied
    assert plan.curtailed
