import itertools
import math

import pytest
import torch
from tests.exact_flow import exact_gradient

from ntkode import activations
from ntkode.gradients import (
    Objective,
    continuous_gradient,
    deviation,
    discrete_gradient,
    fine_twin,
    gradient_error,
    loss_gradient,
)
from ntkode.gradients.reference import refinements, relative_error
from ntkode.integrate import Adjoint, KinkAveraged, NonFiniteState, Solver
from ntkode.losses import CrossEntropy, SquaredError
from ntkode.models import NeuralODE


def make(activation="tanh", dtype=torch.float64, **options):
    torch.manual_seed(0)
    return NeuralODE(4, 24, 3, activation=activation, **options).to(dtype)


def data(rows=6):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    return x, torch.randn(rows, 3, generator=generator, dtype=torch.float64)


def test_reference_agrees_with_a_tight_adaptive_solve():
    objective = Objective(SquaredError(), *data())
    reference = continuous_gradient(make(), objective)
    tight = loss_gradient(make(solver=Solver("dopri8", rtol=1e-12, atol=1e-12)), objective)
    assert reference.error <= 1e-8
    # Richardson's estimate is accurate to about 10 % in the asymptotic range.
    assert relative_error(reference.gradient, tight) < 1.5 * reference.error


def test_reference_of_a_kinked_activation_agrees_with_the_event_located_flow():
    objective = Objective(SquaredError(), *data(rows=16))
    reference = continuous_gradient(make("relu"), objective)
    assert reference.steps == 160
    assert reference.error < 1e-5
    # The estimate is accurate to a factor of three, because it depends on where crossings lie in their steps.
    assert relative_error(reference.gradient, exact_gradient(make("relu"), objective)) < 3 * reference.error


SMOOTHNESS = (
    ("tanh", {}),
    ("softplus", {"beta": 64.0}),
    ("softplus", {"beta": 256.0}),
    ("elu", {}),
    ("celu", {"alpha": 0.5}),
    ("selu", {}),
    ("relu", {}),
    ("hardtanh", {}),
)


def test_a_lucky_pair_of_levels_does_not_hide_an_error():
    # Two samples and eight units cross few kinks, so differences of levels are random.
    for seed in range(12):
        torch.manual_seed(seed)
        model = NeuralODE(4, 8, 3, activation="celu").double()
        x, y = torch.randn(2, 4, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
        *coarse, finest = refinements(model, Objective(SquaredError(), x, y), 640)
        for reference in coarse[:-1]:
            true = relative_error(reference.gradient, finest.gradient)
            # Order 2 on average; errors of consecutive levels vary by a factor of several.
            assert true < 6 * reference.error + 1e-11


@pytest.mark.parametrize(("name", "parameters"), SMOOTHNESS, ids=str)
def test_every_refinement_states_its_error(name, parameters):
    torch.manual_seed(0)
    model = NeuralODE(4, 64, 3, activation=activations.get(name, **parameters)).double()
    *coarse, finest = refinements(model, Objective(SquaredError(), *data(rows=64)), 640)
    for reference in coarse[:-1]:  # the last one has the error of the finest level
        true = relative_error(reference.gradient, finest.gradient)
        assert true < 3 * reference.error + 1e-11
        assert reference.steps in (20, 40, 80, 160)


def test_a_coarse_level_may_fail():
    # Five steps of RK4 overflow, forty do not.
    model = make("cubic", sigma_w=0.0)
    model.velocity = lambda activated: -6.0 * activated
    objective = Objective(SquaredError(), *data())
    with pytest.raises(NonFiniteState):
        loss_gradient(fine_twin(model, 5), objective)
    reference = continuous_gradient(model, objective, max_steps=640)
    assert reference.error < 1e-3
    model.velocity = lambda activated: 60.0 * activated
    with pytest.raises(NonFiniteState):
        continuous_gradient(model, objective, max_steps=80)


def test_a_reference_is_as_fine_as_the_error_asks_for():
    x, y = data(rows=64)
    rough = gradient_error(make("relu", solver=Solver("rk4", steps=5)), x, y)
    assert rough.reference_error < 0.02 * rough.continuous.relative_error
    fine = gradient_error(make("relu", solver=Solver("rk4", steps=20), gradient=KinkAveraged()), x, y)
    assert fine.reference_error < rough.reference_error


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_gradient_error_falls_at_the_solver_order_for_smooth_activations(method, order):
    x, y = data()
    errors = [
        gradient_error(make(solver=Solver(method, steps=steps)), x, y).continuous.relative_error
        for steps in (5, 10, 20)
    ]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    # Slopes approach the order within a term in 1/steps.
    assert slopes == pytest.approx([order, order], abs=0.45)


def test_relu_gradient_is_of_order_one_only():
    x, y = data(rows=64)
    coarse, fine = (
        gradient_error(make("relu", solver=Solver("rk4", steps=s)), x, y).continuous.relative_error
        for s in (5, 40)
    )
    # Eight times the steps would divide an error of order 4 by 4096; the kinks leave about a factor of 8.
    assert 2 < coarse / fine < 40


def test_backprop_in_float64_is_the_exact_discrete_gradient():
    x, y = data()
    errors = gradient_error(make(), x, y)
    assert errors.discrete.relative_error == 0
    assert errors.discrete.cosine == pytest.approx(1)
    assert set(errors.continuous.blocks) == {"U", "W", "v"}


def test_float32_and_adjoint_depart_from_the_discrete_gradient():
    x, y = data()
    single = gradient_error(make(dtype=torch.float32), x.float(), y.float())
    # Rounding of a few hundred float32 operations.
    assert 1e-8 < single.discrete.relative_error < 1e-4
    adjoint = gradient_error(make(gradient=Adjoint(), solver=Solver("midpoint", steps=5)), x, y)
    assert adjoint.discrete.relative_error > 1e-5


def test_offset_shifts_the_output():
    x, y = data()
    model = make()
    with torch.no_grad():
        offset = model(x)
    shifted = loss_gradient(model, Objective(SquaredError(), x, y, offset))
    same = loss_gradient(model, Objective(SquaredError(), x, y + offset))
    assert all(torch.allclose(shifted[n], same[n]) for n in shifted)


def test_cross_entropy_objective():
    x, _ = data()
    y = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1, 2]] - 1 / 3
    errors = gradient_error(make(), x, y, loss=CrossEntropy())
    assert errors.continuous.relative_error < 1e-4


def test_gradients_leave_the_model_alone():
    model, (x, y) = make(), data()
    objective = Objective(SquaredError(), x, y)
    for measure in (loss_gradient, discrete_gradient, continuous_gradient):
        measure(model, objective)
    assert all(p.grad is None for p in model.parameters())
    assert model.solver == Solver()


def test_deviation_of_known_vectors():
    reference = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}
    gradient = {"a": torch.tensor([3.0, 5.0]), "b": torch.tensor([4.0])}
    result = deviation(gradient, reference)
    assert result.relative_error == pytest.approx(1.0)
    assert result.cosine == pytest.approx(25 / (math.sqrt(50) * 5))
    assert result.blocks == pytest.approx({"a": 5 / 3, "b": 0.0})


def test_a_gradient_that_is_not_finite_has_no_error():
    gradient, exact = {"a": torch.tensor([math.inf, 1.0])}, {"a": torch.ones(2)}
    assert math.isinf(relative_error(gradient, exact))
    assert math.isnan(relative_error({"a": torch.tensor([math.nan, 1.0])}, exact))
    assert math.isnan(relative_error(gradient, gradient))
    assert relative_error(exact, exact) == 0
