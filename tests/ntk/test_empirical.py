import pytest
import torch
import torch.nn.functional as F
from tests.reference import dense_full_kernel, dense_jacobian, dense_trace_kernel
from torch import nn

from ntkode.integrate import Adjoint, Solver
from ntkode.models import MLPODE, AugmentedODE, NeuralODE, ResNet, TimeDependentODE
from ntkode.ntk import NotRecordableError, empirical_ntk
from ntkode.ntk.recording import record_linear_calls

RK4 = Solver("rk4", steps=4)
MODELS = {
    "rk4": lambda: NeuralODE(6, 9, 3, activation="tanh", solver=RK4),
    "euler": lambda: NeuralODE(6, 9, 3, activation="relu", solver=Solver("euler", steps=5)),
    "midpoint": lambda: NeuralODE(6, 9, 3, activation="softplus", solver=Solver("midpoint", steps=5)),
    "implicit_adams": lambda: NeuralODE(6, 9, 3, activation="gelu", solver=Solver("implicit_adams", steps=6)),
    "one output": lambda: NeuralODE(6, 9, activation="erf", solver=RK4),
    "resnet": lambda: ResNet(6, 9, 3, depth=5, activation="tanh"),
    "mlp": lambda: MLPODE(6, 9, 3, activation="silu", solver=RK4),
    "augmented": lambda: AugmentedODE(6, 9, 3, activation="tanh", solver=RK4),
    "time-dependent": lambda: TimeDependentODE(6, 9, 3, activation="tanh", solver=RK4),
}
# All ways sum the same products in float64 in another order: a few hundred roundings of 1e-16.
EXACT = 1e-12


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]().double()


@pytest.fixture
def x():
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def relative(kernel, reference):
    return float((kernel - reference).norm() / reference.norm())


@pytest.mark.parametrize("method", ["auto", "pairs", "build", "jacobian"])
def test_every_method_equals_the_dense_reference(model, x, method):
    assert relative(empirical_ntk(model, x, method=method), dense_trace_kernel(model, x, x)) < EXACT
    full = empirical_ntk(model, x, method=method, outputs="full")
    assert relative(full, dense_full_kernel(model, x, x)) < EXACT


@pytest.mark.parametrize("method", ["pairs", "build", "jacobian"])
def test_rectangular_kernels(model, x, method):
    other = x[:3] + 0.5
    assert (
        relative(empirical_ntk(model, x, other, method=method), dense_trace_kernel(model, x, other)) < EXACT
    )
    full = empirical_ntk(model, x, other, method=method, outputs="full")
    assert relative(full, dense_full_kernel(model, x, other)) < EXACT


def test_recorded_calls_cover_the_whole_jacobian(model, x):
    size = sum(p.numel() for p in model.parameters())
    assert dense_jacobian(model, x).shape == (5, model.out_features, size)
    named = dict(model.named_parameters())
    weights = {n: p for n, p in named.items() if p.ndim == 2}
    assert record_linear_calls(model, x).keys() == weights.keys()


def test_kernel_is_symmetric_positive_semidefinite(model, x):
    kernel = empirical_ntk(model, x)
    assert torch.allclose(kernel, kernel.T, rtol=EXACT)
    eigenvalues = torch.linalg.eigvalsh(kernel)
    assert eigenvalues[0] > -5 * torch.finfo(torch.float64).eps * eigenvalues[-1]


def test_the_run_is_left_alone(x):
    model = NeuralODE(6, 9, 2, activation="tanh", gradient=Adjoint())
    before = {n: p.clone() for n, p in model.named_parameters()}
    kernel = empirical_ntk(model, x.float())
    assert kernel.dtype == torch.float64
    assert all(
        torch.equal(p, before[n]) and p.requires_grad and p.grad is None for n, p in model.named_parameters()
    )
    assert model.gradient == Adjoint()


def test_adaptive_solver_gives_way_to_fixed_steps(x):
    torch.manual_seed(0)
    adaptive = NeuralODE(6, 9, 2, activation="tanh", solver=Solver("dopri5")).double()
    fine = adaptive.solved_by(Solver("rk4", steps=20))
    assert torch.equal(empirical_ntk(adaptive, x), empirical_ntk(fine, x))
    # RK4 with 20 steps against 160: (1/20)⁴ ≈ 6e-6 times a small constant.
    exact = adaptive.solved_by(Solver("rk4", steps=160))
    assert relative(empirical_ntk(adaptive, x), empirical_ntk(exact, x)) < 1e-6


class Gated(nn.Module):
    """A parameter that enters by a product of its own: no linear call."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)
        self.gate = nn.Parameter(torch.randn(2))

    def forward(self, x):
        return self.linear(x) * self.gate


def test_other_uses_of_a_parameter_are_named_and_auto_takes_the_jacobian(x):
    torch.manual_seed(0)
    model = Gated()
    with pytest.raises(NotRecordableError, match="'gate'"):
        empirical_ntk(model, x, method="pairs")
    assert relative(empirical_ntk(model, x), dense_trace_kernel(model, x, x)) < EXACT


class Own(nn.Module):
    """A model made of a function of its parameters and the input."""

    def __init__(self, compute, **shapes):
        super().__init__()
        self.compute = compute
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))

    def forward(self, x):
        return self.compute(self, x)


def two_layers(x, w1, b1, w2, b2):
    return F.linear(torch.tanh(F.linear(x, w1, b1)), w2, b2)


SQUARE = torch.randn(2, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
AWKWARD = {
    "transposed": Own(lambda m, x: x @ m.W.T, W=(2, 6)),
    "concatenated": Own(lambda m, x: x @ torch.cat([m.W, m.V], 1), W=(6, 1), V=(6, 1)),
    "product of weights": Own(lambda m, x: x @ (m.W @ m.V), W=(6, 6), V=(6, 6)),
    "parameter as input": Own(lambda m, x: F.linear(m.W, x).T, W=(2, 6)),
    "bias alone": Own(lambda m, x: F.linear(x, SQUARE, m.b), b=(2,)),
    "shared bias": Own(lambda m, x: two_layers(x, m.W, m.b, m.V, m.b), W=(6, 6), V=(6, 6), b=(6,)),
    "bias at times": Own(lambda m, x: two_layers(x, m.W, m.b, m.W, None), W=(6, 6), b=(6,)),
    "in place": nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(inplace=True)),
    "in place first": nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 2)),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_what_cannot_be_recorded_is_never_wrong(name, x):
    model = AWKWARD[name]
    with pytest.raises(NotRecordableError, match="jacobian"):
        empirical_ntk(model, x, method="pairs")
    assert relative(empirical_ntk(model, x), dense_trace_kernel(model, x, x)) < EXACT


def test_plain_networks_work_too(x):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2, bias=False))
    assert relative(empirical_ntk(model, x, method="build"), dense_trace_kernel(model, x, x)) < EXACT


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"outputs": "sum2"}, "sum2"), ({"method": "fast"}, "fast")],
)
def test_unknown_choices_are_named(x, arguments, named):
    with pytest.raises(ValueError, match=named):
        empirical_ntk(MODELS["rk4"](), x, **arguments)


def test_bad_inputs_are_refused(x):
    bad = x.clone()
    bad[2, 1] = float("nan")
    for wrong in (bad, x[0]):
        with pytest.raises(ValueError, match=r"\(N, d\) and finite"):
            empirical_ntk(MODELS["rk4"](), wrong)
