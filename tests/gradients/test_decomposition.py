"""Parts of the gradient's error: their sum, and each part with its cause removed."""

import math

import pytest
import torch

from ntkode.gradients import Objective, continuous_gradient, decompose, gradient_error, loss_gradient
from ntkode.gradients.decomposition import ended_flow_gradient
from ntkode.gradients.reference import flatten, relative_error
from ntkode.integrate import Adjoint, Backprop, KinkAveraged, Reversible, Solver
from ntkode.losses import SquaredError
from ntkode.models import MLPODE, NeuralODE


def make(solver=Solver("midpoint", steps=10), gradient=Adjoint(), activation="tanh", model=NeuralODE):
    torch.manual_seed(0)
    return model(4, 24, 3, activation=activation, solver=solver, gradient=gradient)


def problem(rows=8):
    generator = torch.Generator().manual_seed(1)
    return Objective(
        SquaredError(), torch.randn(rows, 4, generator=generator), torch.randn(rows, 3, generator=generator)
    )


def parts(model, objective=None):
    objective = objective or problem()
    return decompose(model, objective, continuous_gradient(model, objective))


@pytest.mark.parametrize("model", [NeuralODE, MLPODE])
@pytest.mark.parametrize("gradient", [Backprop(), Adjoint(), Reversible()])
def test_the_parts_add_up_to_the_error(model, gradient):
    trained, objective = make(gradient=gradient, model=model), problem()
    reference = continuous_gradient(trained, objective)
    errors = decompose(trained, objective, reference)
    total = loss_gradient(trained, objective)
    ended = ended_flow_gradient(trained.in_double(), objective, reference.steps)
    exact = flatten(reference.gradient)
    backward = flatten(total) - flatten(ended)  # with the rounding
    forward = flatten(ended) - exact
    assert torch.allclose(backward + forward, flatten(total) - exact, atol=1e-12)
    assert errors.forward.relative == pytest.approx(float(forward.norm() / exact.norm()))
    # Rounding is 1e-7; the midpoint rule's error is 1e-3.
    assert errors.backward.relative == pytest.approx(float(backward.norm() / exact.norm()), rel=1e-3)


def test_a_fine_forward_solve_leaves_only_the_backward_error():
    coarse = Solver("midpoint", steps=10)
    errors = parts(make(Solver("rk4", steps=80), Adjoint(backward=coarse)).double())
    assert errors.forward.relative < 1e-7
    assert errors.backward.relative > 1e-4
    assert errors.rounding.relative == 0


def test_a_fine_backward_solve_leaves_only_the_forward_error():
    errors = parts(make(gradient=Adjoint(backward=Solver("rk4", steps=80))).double())
    assert errors.forward.relative > 1e-4
    # The backward solve starts at the forward one's end, as the exact flow g_f does.
    assert errors.backward.relative < 1e-7


def test_rounding_is_what_float64_removes():
    single, double = make(Solver("rk4", steps=40)), make(Solver("rk4", steps=40)).double()
    assert 1e-8 < parts(single).rounding.relative < 1e-5
    assert parts(double).rounding.relative == 0


def test_the_gap_is_between_adjoint_and_backprop_whatever_the_method():
    objective = problem()
    reference = continuous_gradient(make(), objective).gradient
    adjoint, backprop = (loss_gradient(make(gradient=g).double(), objective) for g in (Adjoint(), Backprop()))
    gap = float((flatten(adjoint) - flatten(backprop)).norm() / flatten(reference).norm())
    for gradient in (Adjoint(), Backprop(), Reversible(), Adjoint(backward=Solver("euler", steps=2))):
        assert parts(make(gradient=gradient)).otd_gap.relative == pytest.approx(gap)


def test_the_gap_of_a_kinked_activation_is_the_solver_s_too():
    solver = Solver("rk4", steps=10)
    gaps = [
        parts(make(solver, gradient, "relu").double()).otd_gap.relative
        for gradient in (Backprop(), KinkAveraged())
    ]
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-3)


@pytest.mark.parametrize("part", ["forward", "backward", "otd_gap"])
def test_each_part_is_of_the_solver_order(part):
    coarse, fine = (
        getattr(parts(make(Solver("midpoint", steps=s)).double()), part).relative for s in (10, 20)
    )
    assert math.log2(coarse / fine) == pytest.approx(2, abs=0.3)


def test_blocks_are_relative_to_the_norm_of_the_block():
    model, objective = make(), problem()
    reference = continuous_gradient(model, objective)
    ended = ended_flow_gradient(model.in_double(), objective, reference.steps)
    errors = decompose(model, objective, reference).forward
    assert set(errors.blocks) == {"U", "W", "v"}
    for name, value in errors.blocks.items():
        assert value == pytest.approx(relative_error({name: ended[name]}, {name: reference.gradient[name]}))


def test_the_discrete_reference_uses_the_forward_solve_of_the_method():
    x, y = problem().x.double(), problem().y.double()
    for gradient, activation in ((Reversible(), "tanh"), (KinkAveraged(), "relu")):
        model = make(Solver("rk4", steps=3), gradient, activation).double()
        errors = gradient_error(model, x, y)
        unrolled = loss_gradient(
            model.solved_by(model.solver, gradient.exact), Objective(SquaredError(), x, y)
        )
        exact = relative_error(loss_gradient(model, Objective(SquaredError(), x, y)), unrolled)
        assert errors.discrete.relative_error == pytest.approx(exact, abs=1e-13)
