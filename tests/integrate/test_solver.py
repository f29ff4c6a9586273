import math

import pytest
import torch
from torchdiffeq import odeint

from ntkode.integrate import (
    ADAPTIVE,
    FIXED_STEP,
    Adjoint,
    Backprop,
    CountedField,
    NonFiniteState,
    Pass,
    Solver,
    StepUnderflow,
    TooManySteps,
)


def rotation(t, h):
    """dh/dt = (−h₂, h₁) + t; `exact` is its solution."""
    return torch.stack([-h[:, 1], h[:, 0]], dim=1)


def exact(h0, t):
    c, s = math.cos(t), math.sin(t)
    return h0 @ torch.tensor([[c, s], [-s, c]], dtype=h0.dtype)


START = torch.tensor([[1.0, 0.5], [-0.3, 2.0]], dtype=torch.float64)


def error(solver, horizon=1.5):
    return float((solver.integrate(odeint, rotation, START, horizon) - exact(START, horizon)).norm())


@pytest.mark.parametrize("method", FIXED_STEP)
def test_order_of_fixed_step_methods(method):
    coarse, fine = 20, 40
    tolerances = {"rtol": 1e-12, "atol": 1e-12} if method == "implicit_adams" else {}
    ratio = error(Solver(method, steps=coarse, **tolerances)) / error(
        Solver(method, steps=fine, **tolerances)
    )
    order = math.log2(ratio)
    # The measured order differs from the asymptotic one by O(step); multistep methods of variable order may
    # exceed their initial order.
    assert order > Solver(method).order - 0.15
    if method != "implicit_adams":
        assert order < Solver(method).order + 0.25


@pytest.mark.parametrize("method", ADAPTIVE)
def test_adaptive_error_follows_the_tolerance(method):
    loose, tight = (error(Solver(method, rtol=tol, atol=tol)) for tol in (1e-4, 1e-7))
    # The tolerance bounds local errors; the global error is several times larger.
    assert tight < 1e-6
    assert tight < loose


def test_exactly_as_many_steps_as_asked_for():
    for steps in (1, 3, 7, 49, 100):
        field = CountedField(rotation)
        Solver("euler", steps=steps).integrate(odeint, field, START.float(), 0.7)
        assert field.cost.forward == Pass(evaluations=steps, accepted=steps)


def test_backward_integration_returns_to_the_start():
    solver = Solver("rk4", steps=50)
    final = solver.integrate(odeint, rotation, START, 1.0)
    # RK4 with 50 steps of 0.02: local errors of 0.02^5/120, fifty of them, there and back.
    assert torch.allclose(solver.integrate(odeint, rotation, final, -1.0), START, atol=1e-8)


def test_trajectory_ends_where_integrate_does():
    solver = Solver("rk4", steps=10)
    states = solver.trajectory(rotation, START, 1.0)
    assert states.shape == (11, 2, 2)
    assert torch.equal(states[0], START)
    assert torch.allclose(states[-1], solver.integrate(odeint, rotation, START, 1.0), atol=1e-14)
    with pytest.raises(ValueError, match="fixed_twin"):
        Solver("dopri5").trajectory(rotation, START, 1.0)


def test_fixed_twin():
    assert Solver("euler", steps=3).fixed_twin(1.0) == Solver("euler", steps=3)
    assert Solver("dopri5").fixed_twin(1.0) == Solver("rk4", steps=20)
    assert Solver("dopri5").fixed_twin(4.0) == Solver("rk4", steps=80)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"method": "rk5"}, "rk5"),
        ({"method": "rk4", "steps": 0}, "solver.steps=0"),
        ({"method": "rk4", "steps": 2.5}, "solver.steps=2.5"),
        ({"method": "rk4", "rtol": 1e-3}, "solver=dopri5"),
        ({"method": "dopri5", "steps": 10}, "solver.rtol"),
        ({"method": "dopri5", "rtol": -1e-6}, "solver.rtol=-1e-06"),
        ({"method": "dopri5", "atol": float("nan")}, "solver.atol=nan"),
        ({"method": "dopri5", "max_steps": 0}, "solver.max_steps=0"),
        ({"method": "dopri5", "rtol": "abc"}, "solver.rtol=abc"),
        ({"method": "rk4", "steps": True}, "solver.steps=True"),
    ],
)
def test_bad_settings_are_refused_by_name(arguments, named):
    with pytest.raises(ValueError, match=named):
        Solver(**arguments)


def blow_up(t, h):
    return h**2


@pytest.mark.parametrize(
    ("solver", "failure"),
    [
        (Solver("euler", steps=200), NonFiniteState),
        (Solver("dopri5", max_steps=20), TooManySteps),
        (Solver("dopri5"), StepUnderflow),
    ],
)
def test_failures_are_typed_and_name_solver_and_remedy(solver, failure):
    start = torch.full((1, 1), 5.0)  # blows up at t = 0.2
    with pytest.raises(failure, match=solver.method) as caught:
        solver.integrate(odeint, blow_up, start, 40.0)
    assert "try" in str(caught.value)
    assert caught.value.remedy in str(caught.value)


def test_nan_start_is_a_failure_in_every_kind_of_method():
    start = torch.tensor([[math.nan]])
    for method in ("rk4", "dopri5"):
        with pytest.raises(RuntimeError, match=r"non-finite|underflow"):
            Solver(method).integrate(odeint, rotation_1d, start, 1.0)


def rotation_1d(t, h):
    return -h


def test_evaluations_are_counted_per_pass():
    weight = torch.eye(2, dtype=torch.float64, requires_grad=True)
    counts = {}
    for method in (Backprop(), Adjoint()):
        field = CountedField(lambda t, h: h @ weight)
        final = method.flow(Solver("rk4", steps=5), field, START, 1.0, [weight])
        field.end_forward()
        final.sum().backward()
        counts[type(method)] = (field.cost.forward.evaluations, field.cost.backward.evaluations)
    # RK4 has four stages per step. The adjoint evaluates the field at as many stages again.
    assert counts == {Backprop: (20, 20), Adjoint: (20, 20)}
