"""Gradient methods in float64: compared with each other, their order, and their cost."""

import itertools
import math

import pytest
import torch

from ntkode.gradients import Objective, allocated_peak, fine_twin, loss_gradient
from ntkode.gradients.reference import relative_error
from ntkode.integrate import (
    ADAPTIVE,
    FIXED_STEP,
    TABLEAUX,
    Adjoint,
    Backprop,
    Checkpointed,
    KinkAveraged,
    Pass,
    Reversible,
    SeminormAdjoint,
    Solver,
)
from ntkode.losses import SquaredError
from ntkode.models import MLPODE, NeuralODE, TimeDependentODE


def make(solver, gradient=Backprop(), model=NeuralODE, activation="tanh", width=24):
    torch.manual_seed(0)
    return model(4, width, 3, activation=activation, solver=solver, gradient=gradient).double()


def objective(rows=6):
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.randn(rows, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return Objective(SquaredError(), x, y)


def gradient(solver, method, **options):
    return loss_gradient(make(solver, method, **options), objective())


def fixed(method, steps):
    """A fixed-step solver whose corrector, if it has one, is iterated to rounding."""
    tolerance = {"rtol": 1e-13, "atol": 1e-13} if method == "implicit_adams" else {}
    return Solver(method, steps=steps, **tolerance)


@pytest.fixture(scope="module")
def exact():
    """The continuous gradient: 640 steps of RK4 are exact to rounding."""
    return loss_gradient(fine_twin(make(Solver()), 640), objective())


SUITED = [
    *((method, gradient) for method in FIXED_STEP for gradient in (Backprop(), Adjoint(), Checkpointed())),
    # With a coupling below 1 two terms of order 1 cancel at some number of steps.
    *((method, Reversible(1.0 if method == "euler" else 0.99)) for method in TABLEAUX),
]


@pytest.mark.parametrize(("method", "gradient_method"), SUITED, ids=str)
def test_a_fixed_step_gradient_is_of_the_solver_order(exact, method, gradient_method):
    order = Solver(method).order
    # Errors are far above rounding, and the steps in the asymptotic range.
    counts = {1: (80, 160, 320), 2: (40, 80, 160), 4: (20, 40, 80)}[order]
    errors = [relative_error(gradient(fixed(method, steps), gradient_method), exact) for steps in counts]
    slopes = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    # The next order changes the slope by O(step). implicit_adams starts with RK4 and raises its order up to
    # 12, so it may be better; its corrector stops after four iterations, which leaves an error.
    if method == "implicit_adams":
        assert errors[-1] < errors[0] / 2 ** (2 * (order - 1))
    else:
        assert slopes == pytest.approx([order, order], abs=0.2)


@pytest.mark.parametrize("gradient_method", [Backprop(), Adjoint(), SeminormAdjoint()], ids=str)
@pytest.mark.parametrize("method", ADAPTIVE)
def test_an_adaptive_gradient_follows_the_tolerance(exact, method, gradient_method):
    # Above 1e-6 dopri8 takes two steps at every tolerance; below it adaptive_heun takes thousands.
    first = {"dopri8": 1e-6, "adaptive_heun": 1e-2}.get(method, 1e-3)
    tolerances = (first, first / 100, first / 10_000)
    errors = [
        relative_error(gradient(Solver(method, rtol=tol, atol=tol), gradient_method), exact)
        for tol in tolerances
    ]
    # The tolerance bounds the local error of a step. The global error is about ten times larger, and the
    # adjoint's ten times more, since ∂L/∂θ is a sum over the batch; both fall by about the tolerance's ratio.
    assert errors[2] < 200 * tolerances[2]
    for loose, tight in itertools.pairwise(errors):
        assert tight < loose / 5


@pytest.mark.parametrize("model", [NeuralODE, MLPODE, TimeDependentODE])
@pytest.mark.parametrize("method", FIXED_STEP)
def test_checkpointed_is_backprop(method, model):
    solver = fixed(method, 9)
    checkpointed, backprop = (gradient(solver, g, model=model) for g in (Checkpointed(), Backprop()))
    # The same operations on the same numbers; only the order of sums over steps differs.
    assert relative_error(checkpointed, backprop) < 1e-13
    assert torch.equal(make(solver, Checkpointed())(objective().x), make(solver)(objective().x))


@pytest.mark.parametrize("model", [NeuralODE, MLPODE, TimeDependentODE])
@pytest.mark.parametrize("method", TABLEAUX)
def test_reversible_is_the_exact_derivative_of_its_forward_solve(method, model):
    solver = Solver(method, steps=12)
    reversed_steps = gradient(solver, Reversible(), model=model)
    unrolled = gradient(solver, Reversible().exact, model=model)
    # States are reconstructed up to rounding; the factor 0.99^−12 is negligible.
    assert relative_error(reversed_steps, unrolled) < 1e-12
    outputs = [make(solver, g, model=model)(objective().x) for g in (Reversible(), Reversible().exact)]
    assert torch.equal(*outputs)


def test_reversible_steps_by_hand():
    model, c, steps = make(Solver("euler", steps=3), Reversible(0.9)), 0.9, 3
    field = lambda h: model.vector_field(torch.tensor(0.0), h) / steps  # noqa: E731
    y = z = model.encode(objective().x)
    for _ in range(steps):
        y = c * y + (1 - c) * z + field(z)
        z = z + field(y)
    assert torch.allclose(model(objective().x), model.readout(y), rtol=1e-13, atol=1e-14)


def test_the_adjoint_accepts_a_separate_backward_solver(exact):
    forward = Solver("rk4", steps=80)
    outputs, errors = [], []
    for steps in (20, 40):
        model = make(forward, Adjoint(backward=Solver("midpoint", steps=steps)))
        outputs.append(model(objective().x))
        errors.append(relative_error(loss_gradient(model, objective()), exact))
        assert model.cost.backward == Pass(evaluations=2 * steps, accepted=steps)
    assert torch.equal(*outputs)
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.2)
    adaptive = Adjoint(backward=Solver("dopri5", rtol=1e-8, atol=1e-8))
    assert relative_error(gradient(forward, adaptive), exact) < 1e-6


def test_the_seminorm_needs_fewer_steps():
    solver = Solver("dopri5", rtol=1e-6, atol=1e-6)
    models = [make(solver, g, width=128) for g in (Adjoint(), SeminormAdjoint())]
    for model in models:
        loss_gradient(model, objective(rows=256))
    adjoint, seminorm = (model.cost.backward for model in models)
    # ∂L/∂W is a sum over 256 samples: it dominates the error norm.
    assert seminorm.accepted < adjoint.accepted
    assert models[0].cost.forward == models[1].cost.forward


@pytest.mark.parametrize(
    ("gradient_method", "forward", "backward"),
    [
        (Backprop(), (20, 5), (20, 5)),
        (Adjoint(), (20, 5), (20, 5)),
        (Checkpointed(), (20, 5), (20, 5)),
        (Reversible(), (40, 5), (40, 5)),
    ],
    ids=str,
)
def test_evaluations_and_steps_are_counted(gradient_method, forward, backward):
    # RK4 has four stages a step; the reversible solver takes each step twice.
    model = make(Solver("rk4", steps=5), gradient_method)
    loss_gradient(model, objective())
    assert (model.cost.forward, model.cost.backward) == (Pass(*forward), Pass(*backward))


def test_rejected_steps_are_counted():
    # The field changes rapidly at t = 0.5, where the steps from the slow part are too long.
    model = make(Solver("dopri5", rtol=1e-5, atol=1e-5), Adjoint())
    fast = lambda t, h: h * 50 / (1 + (50 * (t - 0.5)) ** 2)  # noqa: E731
    model.preactivations = fast
    loss_gradient(model, objective())
    for cost in (model.cost.forward, model.cost.backward):
        assert cost.rejected > 0
        # dopri5 takes six evaluations per step, and two at the start.
        assert cost.evaluations == 6 * (cost.accepted + cost.rejected) + 2


@pytest.mark.parametrize(
    ("solver", "gradient_method", "activation", "named", "remedy"),
    [
        (Solver("dopri5"), Checkpointed(), "tanh", "gradient=checkpointed", "solver=rk4"),
        (Solver("dopri5"), Reversible(), "tanh", "dopri5", "solver=rk4"),
        (Solver("implicit_adams"), Reversible(), "tanh", "implicit_adams", "solver=rk4"),
        (Solver("rk4"), SeminormAdjoint(), "tanh", "rk4", "gradient=adjoint"),
        (Solver("rk4"), KinkAveraged(), "tanh", "not tanh", "activation=relu"),
        (Solver("rk4"), KinkAveraged(), "identity", "not identity", "gradient=backprop"),
        (Solver("rk4"), KinkAveraged(), "selu", "not selu", "gradient=backprop"),
        (Solver("dopri5"), KinkAveraged(), "relu", "dopri5", "solver=rk4"),
    ],
)
def test_incompatible_pairs_are_refused_with_a_remedy(solver, gradient_method, activation, named, remedy):
    with pytest.raises(ValueError, match=named) as caught:
        make(solver, gradient_method, activation=activation)
    assert remedy in str(caught.value)
    with pytest.raises(ValueError, match=named):
        make(Solver(), activation=activation).solved_by(solver, gradient_method)


def test_a_seminorm_is_enough_backwards():
    make(Solver("rk4"), SeminormAdjoint(backward=Solver("dopri5")))


def test_a_name_is_no_backward_solver():
    with pytest.raises(ValueError, match="solver@gradient"):
        Adjoint(backward="dopri5")


@pytest.mark.parametrize("coupling", [0.0, -0.5, 1.5, "abc"])
def test_bad_coupling_is_named(coupling):
    with pytest.raises(ValueError, match=f"coupling={coupling}"):
        Reversible(coupling)


@pytest.mark.parametrize(
    "gradient_method", [Backprop(), Adjoint(), Checkpointed(), Reversible(), KinkAveraged()], ids=str
)
def test_parameters_changed_before_the_backward_pass_are_an_error(gradient_method):
    model, problem = make(Solver(), gradient_method, activation="relu"), objective()
    loss = problem(model)
    with torch.no_grad():
        model.W.mul_(1.5)
    with pytest.raises(RuntimeError, match=r"in-?\s?place"):
        loss.backward()


@pytest.mark.parametrize(
    "gradient_method", [Adjoint(), SeminormAdjoint(Solver("dopri5")), Reversible(), KinkAveraged()], ids=str
)
def test_a_second_derivative_is_refused_where_there_is_none(gradient_method):
    model = make(Solver(), gradient_method, activation="relu")
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(objective()(model), list(model.parameters()), create_graph=True)


def test_checkpointed_has_second_derivatives():
    second_derivatives = []
    for method in (Backprop(), Checkpointed()):
        model = make(Solver(), method)
        first = torch.autograd.grad(objective()(model), list(model.parameters()), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), list(model.parameters()))
        second_derivatives.append(torch.cat([g.flatten() for g in second]))
    assert torch.allclose(*second_derivatives, rtol=1e-12)


def test_a_coupling_that_loses_all_digits_is_refused():
    model = make(Solver("rk4", steps=40), Reversible(0.5)).float()
    with pytest.raises(ValueError, match=r"coupling=0\.999"):
        model(objective().x.float())
    with torch.no_grad():  # nothing is stored
        model.solved_by(model.solver, Reversible(0.5).exact)(objective().x.float())


def test_without_gradients_no_states_are_kept():
    x = torch.randn(128, 4)
    for method in (Checkpointed(), Reversible(), KinkAveraged()):
        peaks = []
        for steps in (10, 40):
            model = make(Solver("rk4", steps=steps), method, width=128, activation="relu").float()
            with torch.no_grad():
                peaks.append(allocated_peak(lambda m=model: m(x), torch.device("cpu")))
        assert peaks[1] < 1.2 * peaks[0]


def test_lean_methods_take_less_memory():
    torch.manual_seed(0)
    x, y = torch.randn(128, 4), torch.randn(128, 3)
    problem = Objective(SquaredError(), x, y)
    peaks = {}
    for method in (Backprop(), Checkpointed(), Reversible(), Adjoint()):
        for steps in (10, 40):
            model = make(Solver("rk4", steps=steps), method, width=128).float()
            peaks[type(method), steps] = allocated_peak(
                lambda m=model: loss_gradient(m, problem), torch.device("cpu")
            )
    # Allocations are the same in every run. State: 64 KiB; RK4 has four stages of one saved tensor each.
    per_step = {
        kind: (peaks[kind, 40] - peaks[kind, 10]) / 30 / (128 * 128 * 4)
        for kind in (Backprop, Checkpointed, Reversible, Adjoint)
    }
    assert per_step[Backprop] == pytest.approx(4, abs=0.2)
    assert per_step[Checkpointed] == pytest.approx(1, abs=0.2)
    assert per_step[Reversible] == pytest.approx(0, abs=0.01)
    assert per_step[Adjoint] == pytest.approx(0, abs=0.01)
