"""The kink-averaged adjoint against the event-located exact flow, and its order."""

import itertools
import math

import pytest
import torch
from tests.exact_flow import exact_gradient
from tests.reference import finite_difference_gradient

from ntkode import activations
from ntkode.activations import PiecewiseLinear
from ntkode.gradients import Objective, loss_gradient
from ntkode.gradients.reference import relative_error
from ntkode.integrate import Backprop, CountedField, KinkAveraged, Solver
from ntkode.integrate.kink_correction import KinkCorrected
from ntkode.losses import SquaredError
from ntkode.models import MLPODE, AugmentedODE, NeuralODE, TimeDependentODE

PIECEWISE_LINEAR = ("relu", "leaky_relu", "relu6", "hardtanh", "hard_sigmoid")


def make(activation="relu", steps=10, gradient=KinkAveraged(), model=NeuralODE, width=24, **options):
    torch.manual_seed(0)
    solver = Solver("rk4", steps=steps)
    made = model(5, width, 3, activation=activation, solver=solver, gradient=gradient, **options)
    return made.double()


def objective(rows=16, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 5, generator=generator, dtype=torch.float64)
    return Objective(SquaredError(), x, torch.randn(rows, 3, generator=generator, dtype=torch.float64))


def errors(reference, method, counts, problem, **options):
    return [
        relative_error(loss_gradient(make(steps=s, gradient=method, **options), problem), reference)
        for s in counts
    ]


def slope(values, factor):
    return math.log(values[0] / values[-1]) / math.log(factor)


def test_the_exact_flow_is_that_of_a_fine_solve():
    problem = objective(rows=3)
    exact = exact_gradient(make("hardtanh"), problem)
    model = make("hardtanh", steps=4000, gradient=Backprop())
    # RK4's gradient has order 1 at kinks: its error is 4e-5 at 640 steps.
    assert relative_error(loss_gradient(model, problem), exact) < 2e-5


@pytest.mark.parametrize("activation", PIECEWISE_LINEAR)
def test_it_is_of_second_order_where_backprop_is_of_first(activation):
    problem, counts = objective(), (10, 40, 160)
    # σ_w lets trajectories reach the far kinks of relu6 and hard_sigmoid.
    scales = {"sigma_u": 3.0, "sigma_w": 1.5} if activation in ("relu6", "hard_sigmoid") else {}
    exact = exact_gradient(make(activation, **scales), problem)
    averaged = errors(exact, KinkAveraged(), counts, problem, activation=activation, **scales)
    backprop = errors(exact, Backprop(), counts, problem, activation=activation, **scales)
    # The position of crossings in their steps is random: ± 0.3 in the slope over a factor of 16.
    assert slope(averaged, 16) == pytest.approx(2, abs=0.35)
    assert slope(backprop, 16) == pytest.approx(1, abs=0.35)
    assert averaged[0] < backprop[0] / 10


@pytest.mark.parametrize("model", [MLPODE, AugmentedODE, TimeDependentODE])
def test_fields_of_linear_layers_have_it_too(model):
    problem, counts = objective(rows=64), (5, 20, 80)
    torch.manual_seed(0)
    exact = loss_gradient(make(steps=640, model=model, width=48), problem)
    averaged = errors(exact, KinkAveraged(), counts, problem, model=model, width=48)
    backprop = errors(exact, Backprop(), counts, problem, model=model, width=48)
    assert slope(averaged, 16) == pytest.approx(2, abs=0.35)
    assert slope(backprop, 16) == pytest.approx(1, abs=0.35)


def test_its_outputs_are_of_third_order():
    x = objective(rows=200).x
    with torch.no_grad():
        exact = make(steps=640)(x)
        values = [(make(steps=s)(x) - exact).norm() for s in (10, 40)]
        plain = [(make(steps=s, gradient=Backprop())(x) - exact).norm() for s in (10, 40)]
    assert slope(values, 4) == pytest.approx(3, abs=0.3)
    assert slope(plain, 4) == pytest.approx(2, abs=0.3)


def test_without_crossings_it_is_the_solver_and_its_adjoint():
    # Positive inputs and weights: every state stays above relu's kink.
    model, fine = make(sigma_w=0.2), make(sigma_w=0.2, steps=160, gradient=Backprop())
    with torch.no_grad():
        for m in (model, fine):
            m.U.abs_()
            m.W.abs_()
    problem = objective()
    problem = Objective(problem.loss, problem.x.abs() + 0.1, problem.y)
    assert torch.equal(model(problem.x), model.solved_by(model.solver)(problem.x))
    # Simpson's rule and the cubic midpoint err by (σ_wT‖W‖/√n)⁴/2880/10⁴ at most, with a norm near 4: 1e-5.
    assert relative_error(loss_gradient(model, problem), loss_gradient(fine, problem)) < 1e-5


def test_corrected_steps_can_be_differentiated():
    model, problem = make(gradient=KinkCorrected(), width=6, steps=4), objective(rows=4)
    values = loss_gradient(model, problem)
    with torch.no_grad():
        expected = finite_difference_gradient(lambda: problem(model), list(model.parameters()))
    for (name, value), finite in zip(values.items(), expected, strict=True):
        assert torch.allclose(value, finite, rtol=1e-6, atol=1e-7), name
    assert model.gradient.exact == KinkCorrected()
    assert KinkAveraged().exact == KinkCorrected()


def test_frozen_parameters_get_no_gradient():
    problem = objective()
    for name in ("inner.weight", "outer.weight"):
        model = make(model=MLPODE)
        whole = loss_gradient(model, problem)
        for values, parameter in model.named_parameters():
            parameter.requires_grad_(values == name)
        (gradient,) = torch.autograd.grad(problem(model), dict(model.named_parameters())[name])
        assert torch.allclose(gradient, whole[name])


def test_float32_is_as_good_as_its_rounding():
    problem = objective()
    double = loss_gradient(make(), problem)
    assert relative_error(loss_gradient(make().float(), problem), double) < 1e-5


def test_a_field_without_layers_is_refused():
    with pytest.raises(ValueError, match="LayeredODEModel"):
        KinkAveraged().check(Solver(), CountedField(lambda t, h: h))


@pytest.mark.parametrize("activation", PIECEWISE_LINEAR)
def test_means_along_a_line_are_integrals(activation):
    phi = activations.get(activation)
    pieces = PiecewiseLinear.of(phi)
    generator = torch.Generator().manual_seed(0)
    start, end = 8 * torch.rand(2, 500, generator=generator, dtype=torch.float64) - 4
    start[:2] = end[:2] = torch.tensor([0.5, -0.5])  # a line of length zero
    shares = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    points = torch.lerp(start, end, shares[:, None])
    # The midpoint rule has an error of an interval's width times the jumps, or the square of it.
    assert torch.allclose(pieces.mean_slope(start, end), phi.derivative(points).mean(0), atol=1e-3)
    assert torch.allclose(pieces.mean_value(start, end), phi(points).mean(0), atol=1e-5)
    crossed = (phi.derivative(points) - phi.derivative(points)[0]).abs().amax(0) > 1e-9
    assert torch.equal(pieces.crosses(start, end), crossed)


def test_errors_fall_at_every_doubling():
    problem = objective(rows=64)
    exact = loss_gradient(make(steps=640), problem)
    falling = errors(exact, KinkAveraged(), (10, 20, 40, 80), problem)
    assert all(fine < coarse / 2 for coarse, fine in itertools.pairwise(falling))
