import copy
import itertools
import math
import pickle
from functools import cache
from pathlib import Path

import pytest
import torch
from tests.reference import finite_difference_gradient
from torchdiffeq import odeint

from ntkode import activations
from ntkode.gradients import Objective, gradient_error, loss_gradient
from ntkode.integrate import Adjoint, Backprop, Checkpointed, KinkAveraged, Reversible, Solver
from ntkode.losses import SquaredError
from ntkode.models import MLPODE, AugmentedODE, ConvODE, NeuralODE, ODEModel, ResNet, TimeDependentODE
from ntkode.studies import build

ROOT = Path(__file__).resolve().parents[2]
MODELS = {
    "neural_ode": NeuralODE,
    "resnet": lambda d, n, k, **o: ResNet(d, n, k, depth=o.pop("solver").steps, **o),
    "mlp_ode": MLPODE,
    "augmented_ode": AugmentedODE,
    "time_dependent_ode": TimeDependentODE,
    "conv_ode": lambda d, n, k, **o: ConvODE(d, n, k, image_shape=(1, 1, d), patch=1, **o),
}
FINE = Solver("rk4", steps=20)


def make(name, *, d=3, n=4, k=2, activation="tanh", solver=FINE, dtype=torch.float64, **options):
    torch.manual_seed(0)
    return MODELS[name](d, n, k, activation=activation, solver=solver, **options).to(dtype)


def data(d=3, k=2, rows=4):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, d, generator=generator, dtype=torch.float64)
    return x, torch.randn(rows, k, generator=generator, dtype=torch.float64)


def test_every_model_of_the_config_is_here():
    assert {path.stem for path in (ROOT / "conf" / "model").glob("*.yaml")} == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_backprop_gradient_is_the_finite_difference_of_the_discrete_loss(name):
    model, (x, y) = make(name), data()
    objective = Objective(SquaredError(), x, y)
    gradient = loss_gradient(model, objective)
    with torch.no_grad():
        expected = finite_difference_gradient(lambda: objective(model), list(model.parameters()))
    for (parameter, derivative), finite in zip(gradient.items(), expected, strict=True):
        # Central differences with step 1e-6: truncation 1e-12·f''', rounding 1e-16/1e-6 of a loss near 10.
        assert torch.allclose(derivative, finite, rtol=1e-7, atol=1e-8), parameter


# Every method of conf/gradient; backpropagation has the test above.
GRADIENTS = {path.stem for path in (ROOT / "conf" / "gradient").glob("*.yaml")}
# Methods that refuse tanh or the solver; tests/integrate covers those.
UNSUITED = {
    "midpoint": {"kink_averaged", "adjoint_seminorm"},
    "rk4": {"kink_averaged", "adjoint_seminorm"},
    "dopri5": {"kink_averaged", "checkpointed", "reversible"},
}
PAIRS = [(method, name) for method, refused in UNSUITED.items() for name in sorted(GRADIENTS - refused)]


@cache
def continuous_gradient_by_differences(name):
    """Finite-difference gradient of the loss with an 80-step RK4 solve, for every gradient method."""
    model, (x, y) = make(name, solver=Solver("rk4", steps=80)), data()
    with torch.no_grad():
        finite = finite_difference_gradient(
            lambda: Objective(SquaredError(), x, y)(model), list(model.parameters())
        )
    return torch.cat([g.flatten() for g in finite])


@pytest.mark.parametrize("name", [name for name in MODELS if name != "resnet"])
@pytest.mark.parametrize(("method", "gradient"), PAIRS)
def test_every_gradient_method_is_right_up_to_the_solver_error(composed, name, method, gradient):
    tight = Solver("dopri5", rtol=1e-9, atol=1e-9)
    solver = tight if method == "dopri5" else Solver(method, steps=40)
    built = build(composed(f"gradient={gradient}")["gradient"])
    model, (x, y) = make(name, solver=solver, gradient=built), data()
    blocks = loss_gradient(model, Objective(SquaredError(), x, y))
    computed = torch.cat([g.flatten() for g in blocks.values()])
    finite = continuous_gradient_by_differences(name)
    # The solver's error: (1/40)² ≈ 6e-4 times a constant near 1 for midpoint, (1/40)⁴ ≈ 4e-7 for RK4, some
    # hundred tolerances for dopri5. The finite differences of an 80-step RK4 solve are good to 1e-7.
    assert (computed - finite).norm() < {"midpoint": 2e-3, "rk4": 2e-6, "dopri5": 2e-6}[
        method
    ] * finite.norm()


def test_formula_of_the_paper_by_hand():
    model, (x, _) = (
        make("neural_ode", solver=Solver("euler", steps=3), horizon=0.6, sigma_w=1.5, sigma_v=0.7),
        data(),
    )
    h = x @ model.U.T / math.sqrt(3)
    for _ in range(3):
        h = h + 0.2 * 1.5 / math.sqrt(4) * torch.tanh(h) @ model.W.T
    expected = 0.7 / math.sqrt(4) * torch.tanh(h) @ model.v
    assert torch.allclose(model(x), expected, rtol=1e-13)


def test_residual_network_is_the_literal_recursion():
    model, (x, _) = make("resnet", solver=Solver("euler", steps=7)), data()
    h = model.encode(x)
    for _ in range(7):
        h = h + (1.0 / 7) * model.vector_field(torch.tensor(0.0), h)
    assert torch.allclose(model(x), model.readout(h), rtol=1e-13)
    assert model.depth == 7


def test_residual_network_and_neural_ode_share_a_state_dict():
    ode, resnet = make("neural_ode"), make("resnet")
    assert ode.state_dict().keys() == {"U", "W", "v"}
    assert [tuple(p.shape) for p in ode.state_dict().values()] == [(4, 3), (4, 4), (4, 2)]
    with torch.no_grad():
        for parameter in ode.parameters():
            parameter.mul_(1.1)
    resnet.load_state_dict(ode.state_dict())
    assert torch.equal(resnet.W, ode.W)


def test_residual_network_approaches_the_neural_ode_as_one_over_depth():
    x, _ = data(rows=8)
    ode = make("neural_ode", n=32, solver=Solver("rk4", steps=80))
    differences = []
    for depth in (20, 40, 80, 160):
        resnet = make("resnet", n=32, solver=Solver("euler", steps=depth))
        differences.append(float((resnet(x) - ode(x)).detach().norm()))
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(differences)]
    # Order 1 with corrections of relative size 1/L.
    assert slopes == pytest.approx([1, 1, 1], abs=0.1)


def test_one_output_by_default_and_float32():
    model = NeuralODE(5, 8, activation="relu")
    assert model(torch.randn(3, 5)).shape == (3, 1)
    assert next(model.parameters()).dtype == torch.float32


def test_initial_entries_are_standard_normal():
    torch.manual_seed(0)
    model = NeuralODE(50, 200, 10, activation="tanh")
    for parameter in model.parameters():
        size = parameter.numel()
        # Five standard errors of mean and variance.
        assert abs(parameter.mean()) < 5 / math.sqrt(size)
        assert abs(parameter.var() - 1) < 5 * math.sqrt(2 / size)


def test_time_dependent_field_sees_the_time():
    model, (x, _) = make("time_dependent_ode"), data()
    h = model.encode(x)
    early, late = (model.vector_field(torch.tensor(t), h) for t in (0.0, 1.0))
    assert not torch.allclose(early, late)


def test_augmented_state_begins_with_the_input():
    model, (x, _) = make("augmented_ode", augment=2), data()
    assert torch.equal(model.encode(x)[:, :3], x)
    assert torch.equal(model.encode(x)[:, 3:], torch.zeros(4, 2, dtype=x.dtype))


def test_the_flow_backwards_returns():
    model, (x, _) = make("neural_ode"), data()
    start = model.encode(x).detach()
    # RK4 with 20 steps in each direction: (1/20)⁴ ≈ 6e-6 times a small constant.
    assert torch.allclose(
        FINE.integrate(odeint, model.vector_field, model.flow(start), -1.0), start, atol=1e-5
    )


def test_twin_shares_parameters_and_leaves_the_model_alone():
    model = make("neural_ode", gradient=Adjoint())
    twin = model.solved_by(Solver("euler", steps=2))
    assert twin.W is model.W
    assert (model.solver, model.gradient) == (FINE, Adjoint())
    assert (twin.solver, twin.gradient) == (Solver("euler", steps=2), Backprop())


def test_models_survive_deepcopy_and_pickle():
    model, (x, _) = make("mlp_ode"), data()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("neural_ode", {"n": 0}, "model.width=0"),
        ("neural_ode", {"n": 2.5}, "model.width=2.5"),
        ("neural_ode", {"horizon": 0.0}, "model.horizon=0"),
        ("neural_ode", {"horizon": math.inf}, "model.horizon=inf"),
        ("neural_ode", {"sigma_w": -1.0}, "model.sigma_w=-1"),
        ("neural_ode", {"sigma_u": math.nan}, "model.sigma_u=nan"),
        ("neural_ode", {"sigma_w": "abc"}, "model.sigma_w=abc"),
        ("neural_ode", {"horizon": "abc"}, "model.horizon=abc"),
        ("neural_ode", {"activation": "tanhh"}, "tanhh"),
        ("augmented_ode", {"augment": 0}, "model.augment=0"),
        ("mlp_ode", {"k": 0}, "model.out_features=0"),
    ],
)
def test_bad_arguments_are_named(name, options, named):
    with pytest.raises(ValueError, match=named):
        make(name, **options)


def test_bad_depth_is_named():
    with pytest.raises(ValueError, match=r"model\.depth=0"):
        ResNet(3, 4, depth=0, activation="tanh")


def test_wrong_input_shape_is_named():
    with pytest.raises(ValueError, match=r"\(4, 5\)"):
        make("neural_ode")(torch.zeros(4, 5, dtype=torch.float64))


def test_user_activation_is_taken_as_an_object():
    user_activation = activations.from_callable(torch.sin, name="mine")
    x, _ = data()
    named = make("neural_ode", activation="sin")
    assert torch.equal(make("neural_ode", activation=user_activation)(x), named(x))


class Gated(ODEModel):
    """A field without layers: φ(B h)·sigmoid(h)."""

    def __init__(self, **options):
        super().__init__(3, 4, 2, horizon=1.0, gradient=Backprop(), subtract_initial_output=False, **options)
        self.encoder, self.inner, self.head = (
            torch.nn.Linear(3, 4),
            torch.nn.Linear(4, 4),
            torch.nn.Linear(4, 2),
        )

    def encode(self, x):
        return self.encoder(x)

    def preactivations(self, t, h):
        return self.inner(h)

    def vector_field(self, t, h):
        return self.activation(self.inner(h)) * torch.sigmoid(h)

    def readout(self, h):
        return self.head(h)

    def field_parameters(self):
        return list(self.inner.parameters())


@pytest.mark.parametrize("activation", ["tanh", "leaky_relu"])
def test_any_vector_field_has_its_gradient_measured(activation):
    torch.manual_seed(0)
    model = Gated(activation=activation, solver=Solver("rk4", steps=5)).double()
    x, y = data()
    assert 0 < gradient_error(model, x, y).continuous.relative_error < 0.1
    with pytest.raises(ValueError, match="LayeredODEModel"):
        model.solved_by(model.solver, KinkAveraged())


class Tied(MLPODE):
    """Both layers of the field share one weight."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.outer.weight = self.inner.weight


@pytest.mark.parametrize("gradient", [Adjoint(), Checkpointed(), KinkAveraged(), Reversible()], ids=str)
def test_a_shared_parameter_has_its_gradient_once(gradient):
    torch.manual_seed(0)
    model = Tied(3, 4, 2, activation="hardtanh", solver=Solver("rk4", steps=80)).double()
    x, y = data()
    backprop, measured = (
        loss_gradient(m, Objective(SquaredError(), x, y))
        for m in (model, model.solved_by(model.solver, gradient))
    )
    # The gradient at 80 steps is accurate to about 1e-3; counted twice, its relative error would be 1.
    for name in backprop:
        assert torch.allclose(
            measured[name], backprop[name], rtol=0.05, atol=0.02 * float(backprop[name].norm())
        )


def test_a_frozen_parameter_has_no_error():
    model, (x, y) = make("neural_ode"), data()
    model.U.requires_grad_(False)
    assert gradient_error(model, x, y).continuous.blocks.keys() == {"W", "v"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient": "adjoint"}, r"Adjoint\(\)"),
        ({"gradient": Adjoint}, r"Adjoint\(\)"),
        ({"gradient": None}, r"Adjoint\(\)"),
        ({"solver": "rk4"}, r"Solver\('rk4'"),
    ],
)
def test_a_name_is_neither_a_solver_nor_a_gradient_method(options, message):
    with pytest.raises(ValueError, match=message):
        NeuralODE(3, 4, activation="tanh", **options)


def test_repr_lists_sizes_activation_solver_and_gradient():
    text = repr(make("neural_ode"))
    assert "width=4" in text
    assert "activation=tanh, solver=rk4(20 steps), gradient=Backprop()" in text
