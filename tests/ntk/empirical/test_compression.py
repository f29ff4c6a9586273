import pytest
import torch
from tests.ntk.empirical.recorded_models import Switched
from torch import nn

from ntkode.integrate import Solver
from ntkode.models import NeuralODE
from ntkode.ntk import empirical_ntk, measure_ntk
from ntkode.ntk.empirical import compression
from ntkode.ntk.empirical.recording import Recorder

TOLERANCES = (1e-3, 1e-4, 1e-6, 1e-8, 1e-10)


def recorded(model, x, weight):
    (calls,) = Recorder(model)(x, torch.eye(2)).calls[weight]
    return calls


def solved(activation):
    torch.manual_seed(0)
    model = NeuralODE(8, 32, 2, activation=activation, solver=Solver("rk4", steps=10)).double()
    return recorded(model, torch.randn(80, 8, dtype=torch.float64), "W")


class ConvolutionalODE(nn.Module):
    """Ten Euler steps of one convolution."""

    def __init__(self):
        super().__init__()
        self.field, self.out = nn.Conv1d(2, 2, 3, padding=1), nn.Linear(10, 2)

    def forward(self, x):
        h = x.view(len(x), 2, 5)
        for _ in range(10):
            h = h + 0.1 * self.field(h).tanh()
        return self.out(h.flatten(1))


def convolved():
    torch.manual_seed(0)
    return recorded(ConvolutionalODE().double(), torch.randn(30, 10, dtype=torch.float64), "field.weight")


def derivatives(calls):
    """Dense J_i of each sample, (N, size)."""
    a, g = calls.inputs.double(), calls.cotangents.double()
    parts = [
        torch.stack(
            [
                torch.einsum("blnq,blnp->nbqp", calls.layer.channels(g[c, k]), calls.layer.patches(a[c]))
                for k in range(g.shape[1])
            ]
        )
        for c in range(len(a))
    ]
    return torch.stack(parts).sum(0).transpose(0, 1).flatten(1)


def error(basis, calls):
    exact = derivatives(calls)
    return float((derivatives(basis(calls)) - exact).norm() / exact.norm())


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus", "convolution"])
def test_the_error_stays_below_the_tolerance_and_the_rank_grows_with_it(activation):
    calls = convolved() if activation == "convolution" else solved(activation)
    ranks = []
    for tolerance in TOLERANCES:
        basis = compression.fit(compression.samples(calls), tolerance)
        # Fitted to a tail of half the tolerance on 64 of 80 samples; the others have a slightly larger error.
        assert error(basis, calls) < tolerance
        ranks.append(basis.rank)
    assert ranks == sorted(ranks)
    assert ranks[0] < len(calls.inputs) / 3


@pytest.mark.parametrize("activation", ["tanh", "softplus", "relu"])
def test_the_tail_and_the_probes_estimate_the_error(activation):
    calls = solved(activation)
    for tolerance in TOLERANCES[:3]:
        basis = compression.fit(compression.samples(calls), tolerance)
        true = error(basis, calls)
        # The tail does not depend on the omitted samples. The error is nearly of one mode, common to all
        # samples, so their estimates do not average: 16 products of normals give a norm to a factor of 1.5.
        assert true / 5 < basis.tail < 2 * true
        estimate = compression.error(calls, basis(calls))
        assert true / 2 < estimate.rms < 2 * true
        assert estimate.rms < estimate.worst < 10 * true


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_size_of_the_calls_does_not_matter(scale):
    calls = solved("tanh")
    scaled = compression.Calls(calls.layer, scale * calls.inputs, scale * calls.cotangents)
    basis, other = (compression.fit(some, 1e-4) for some in (calls, scaled))
    assert basis.rank == other.rank
    assert other.tail == pytest.approx(basis.tail, rel=1e-6)
    errors = compression.error(calls, basis(calls)), compression.error(scaled, other(scaled))
    assert errors[1].rms == pytest.approx(errors[0].rms, rel=1e-6)
    assert errors[1].worst == pytest.approx(errors[0].worst, rel=1e-6)


def test_smooth_solves_need_few_terms():
    # Four to eight terms replace the 40 calls of ten RK4 steps; a kink needs more.
    smooth, kinked = (compression.fit(solved(name), 1e-6).rank for name in ("tanh", "relu"))
    assert smooth <= 6 < kinked


def test_calls_that_all_vanish_compress_to_one_zero_term():
    calls = solved("tanh")
    nothing = compression.Calls(calls.layer, calls.inputs * 0, calls.cotangents * 0)
    basis = compression.fit(nothing, 1e-6)
    assert basis.rank == 1
    assert basis.tail == 0
    assert derivatives(basis(nothing)).abs().max() == 0


def test_samples_that_are_not_spanned_are_not_compressed():
    torch.manual_seed(0)
    model = Switched(6).double()
    # The basis is fitted to the first chunk, which has one of the two paths.
    x = torch.randn(300, 6, dtype=torch.float64)
    x[:, 0] = -1
    x[200:, 0] = 1
    measured = measure_ntk(model, x, method="compressed", tolerance=1e-6)
    assert all(choice.bases is None for choice in measured.report.choices.values())
    exact = measure_ntk(model, x, method="jacobian").kernel
    # Without compression: the same products in another order.
    assert float((measured.kernel - exact).norm() / exact.norm()) < 1e-12


def test_a_few_odd_samples_among_many_are_detected():
    torch.manual_seed(0)
    model = Switched(6).double()
    x = torch.randn(300, 6, dtype=torch.float64)
    x[:, 0] = -1
    x[250:255, 0] = 1
    kernel = measure_ntk(model, x, method="compressed", tolerance=1e-6).kernel
    exact = measure_ntk(model, x, method="build").kernel
    # Twice the tolerance of the derivatives, plus the spread of the estimate.
    assert float(((kernel - exact).diagonal() / exact.diagonal()).abs().max()) < 1e-5


def test_samples_without_derivative_have_a_kernel_of_zero():
    """relu is off on all of x1: a basis fitted to its calls is zero, and no division overflows for x2."""
    model = NeuralODE(1, 1, activation="relu", solver=Solver("euler", steps=3))
    with torch.no_grad():
        for parameter, number in ((model.U, -1.9), (model.W, 1.5), (model.v, -1.0)):
            parameter.fill_(number)
    x1, x2 = torch.tensor([[0.6], [2.7]]), torch.tensor([[-2.9], [-0.3], [0.7]])
    kernel = empirical_ntk(model, x1, x2, method="compressed")
    assert torch.equal(kernel, torch.zeros(2, 3, dtype=torch.float64))
