"""Per-sample derivatives as they are held: form, memory, and the samples that a basis is fitted on."""

import re

import pytest
import torch
from tests.ntk.empirical.recorded_models import Model, inputs, linear, seeded, solved
from torch import nn

from ntkode.integrate import Solver
from ntkode.models import NeuralODE
from ntkode.ntk import NonFiniteKernelError, empirical_ntk, measure_ntk
from ntkode.ntk.empirical import compression
from ntkode.ntk.empirical.contraction import Gradients, OuterProducts
from ntkode.ntk.empirical.factors import CompressionFailed, RecordedFactors
from ntkode.ntk.empirical.layers import Linear
from ntkode.ntk.empirical.layout import Layout
from ntkode.ntk.empirical.planning import kernel_flops
from ntkode.ntk.empirical.recording import Calls, Recorder


def mlp():
    return seeded(lambda: Model(lambda m, x: m.b(m.a(x).tanh()), a=linear(6, 5), b=linear(5)))


@pytest.mark.parametrize(("method", "form"), [("pairs", OuterProducts), ("build", Gradients)])
def test_derivatives_have_the_form_of_the_method_and_take_the_predicted_memory(method, form):
    x, k = inputs(4), 2
    layout = Layout("trace", torch.float64)
    factors = RecordedFactors(Recorder(mlp()), k, layout, method, 1e-12, kernel_flops(4, 4), 2**30)
    factors.start(x)
    held = factors(x)
    assert {name: type(factor) for name, factor in held.items()} == {
        "a.weight": form, "b.weight": form, "a.bias": Gradients, "b.bias": Gradients,
    }  # fmt: skip
    weights = 0
    for name in ("a.weight", "b.weight"):
        tensors = vars(held[name])
        numbers = sum(tensors[part].numel() for part in ("inputs", "cotangents", "values") if part in tensors)
        weights += 3 * (numbers // 4) // 2  # half as much again for float32 copies
    assert factors.bytes_per_row() == 8 * (weights + k * (5 + 2))


@pytest.mark.parametrize(("budget", "chunks"), [(1, [1, 1, 1, 1]), (3 * 1200 - 1, [2, 2]), (5 * 1200, [4])])
def test_samples_are_recorded_in_chunks_that_fit(monkeypatch, budget, chunks):
    layout = Layout("trace", torch.float64)
    factors = RecordedFactors(Recorder(mlp()), 2, layout, "build", 1e-12, kernel_flops(4, 4), budget)
    recorded, record = [], Recorder.__call__

    def counting(self, x, seeds):
        recorded.append(len(x))
        return record(self, x, seeds)

    monkeypatch.setattr(Recorder, "__call__", counting)
    x = inputs(4)
    # 25 numbers a sample, four times in the solve's eight bytes and twice in the kernel's: 1200 bytes.
    factors.start(x)
    held = factors(x)
    assert recorded == chunks  # the first ones are not recorded again
    whole = measure_ntk(mlp(), x, blocks=True).blocks
    for name, factor in held.items():
        assert torch.allclose(factor.values[0] @ factor.values[0].T / 2, whole[name], rtol=1e-12, atol=1e-12)


def calls_of(rows, inputs_, outputs):
    """One call whose every sample's input is its number."""
    numbered = torch.arange(rows, dtype=torch.float64)[None, :, None]
    return Calls(Linear(), numbered.expand(1, rows, inputs_), torch.ones(1, 2, rows, outputs))


@pytest.mark.parametrize(
    ("rows", "numbers", "expected"),
    [
        (5, (3, 4), 5),  # fewer than wanted: all
        (1000, (3, 4), 64),  # small calls: the most
        (1000, (2**11, 4), 16),  # 2¹⁵ numbers by the larger of the input and its two cotangents
        (1000, (4, 2**10), 16),
        (1000, (4, 2**14), 8),  # large calls: the fewest
    ],
)
def test_a_basis_is_fitted_on_samples_evenly_spread(rows, numbers, expected):
    some = compression.samples(calls_of(rows, *numbers))
    assert some.cotangents.shape == (1, 2, expected, numbers[1])
    index = some.inputs[0, :, 0]
    assert (index[0], index[-1]) == (0, rows - 1)
    steps = index.diff()
    assert float(steps.max() - steps.min()) <= 1


def test_no_derivative_has_no_error():
    calls = Calls(Linear(), torch.zeros(3, 4, 5), torch.ones(3, 2, 4, 6))
    assert compression.error(calls, calls) == compression.CompressionError(0.0, 0.0)


def test_the_error_of_one_sample_is_relative_to_the_root_mean_square_of_all():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(1, 100, 5, generator=generator, dtype=torch.float64)
    g = torch.randn(1, 2, 100, 6, generator=generator, dtype=torch.float64)
    wrong = g.clone()
    wrong[:, :, 7] *= 1.5
    error = compression.error(Calls(Linear(), a, g), Calls(Linear(), a, wrong))
    norms = torch.einsum("cknq,cnp->nkqp", g, a).flatten(1).norm(dim=1)
    alone = 0.5 * float(norms[7])
    # Sixteen products of two normals for each of two outputs know a norm to a half.
    assert error.worst == pytest.approx(alone / float(norms.square().mean().sqrt()), rel=0.5)
    assert error.worst / error.rms == pytest.approx(10)  # √100: all of the error is one sample's


def test_the_reported_error_is_the_largest_of_its_parts():
    torch.manual_seed(0)
    ode = NeuralODE(6, 32, 2, activation="tanh", solver=Solver("rk4", steps=10)).double()
    compressed = measure_ntk(ode, inputs(200), method="compressed", tolerance=1e-4).report
    tails = [choice.tail for choice in compressed.choices.values()]
    assert min(compressed.compression_error, max(tails)) > 1e-7
    assert compressed.jacobian_error == max(compressed.compression_error, *tails)
    torch.manual_seed(0)
    ode = NeuralODE(6, 64, 2, activation="tanh", solver=Solver("rk4", steps=10)).double()
    compressed = measure_ntk(ode, inputs(60), method="compressed", tolerance=1e-2).report
    tails = [choice.tail for choice in compressed.choices.values()]
    assert compressed.jacobian_error == max(tails) > compressed.compression_error
    coupled = measure_ntk(seeded(lambda: solved(method="dopri5", rtol=1e-7, atol=1e-9)), inputs()).report
    assert coupled.jacobian_error == coupled.coupling > 1e-12
    exact = measure_ntk(mlp(), inputs()).report
    assert exact.jacobian_error == 8 * 2.0**-52
    assert measure_ntk(mlp().float(), inputs()).report.jacobian_error == 8 * 2.0**-23


def test_shares_by_parameter_are_kept_only_when_they_are_asked_for():
    assert measure_ntk(mlp(), inputs()).blocks.keys() == {""}


def test_an_output_that_is_not_finite_has_no_kernel():
    model = seeded(lambda: Model(lambda m, x: m.b(m.a(x).exp().exp()), a=linear(6, 5), b=linear(5)))
    for method in ("auto", "build"):
        with pytest.raises(NonFiniteKernelError, match=r"'[ab]\.weight' is NaN or infinite"):
            empirical_ntk(model, 1e4 * inputs(), method=method)


def test_dropout_of_nothing_is_no_chance():
    model = nn.Sequential(linear(6, 5), nn.Dropout(0.0), linear(5)).double()
    exact = empirical_ntk(model, inputs(), method="jacobian")
    kernel = empirical_ntk(model, inputs(), method="pairs")
    assert float((kernel - exact).norm() / exact.norm()) < 1e-12


def test_a_model_that_changes_its_input_in_place_has_the_same_kernel():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.ReLU(inplace=True), linear(6, 2)).double(), inputs()
    before = x.clone()
    kernels = [empirical_ntk(model, x, method=method, outputs="full") for method in ("jacobian", "pairs")]
    assert torch.equal(x, before)
    assert float((kernels[0] - kernels[1]).norm() / kernels[0].norm()) < 1e-12


def test_a_compression_that_is_given_up_leaves_no_error():
    torch.manual_seed(0)
    ode = NeuralODE(6, 32, 2, activation="tanh", solver=Solver("rk4", steps=5)).double()
    # Where tanh is linear fewer terms do, and the samples after them are not spanned.
    measured = measure_ntk(
        ode, 1e-3 * inputs(3), 10 * inputs(20, seed=2), method="compressed", tolerance=1e-9
    )
    assert all(choice.bases is None for choice in measured.report.choices.values())
    assert measured.report.compression_error == 0
    assert measured.report.jacobian_error == 8 * 2.0**-52


@pytest.mark.parametrize(
    ("rms", "worst", "fails"), [(1e-6, 9e-6, False), (1e-6, 1.1e-5, True), (1.1e-6, 9e-6, True)]
)
def test_a_compression_fails_beyond_the_tolerance_or_ten_times_that_for_one_sample(
    monkeypatch, rms, worst, fails
):
    x, layout = inputs(4), Layout("full", torch.float64)
    torch.manual_seed(0)
    model = NeuralODE(6, 8, 2, activation="tanh", solver=Solver("euler", steps=5)).double()
    factors = RecordedFactors(Recorder(model), 2, layout, "compressed", 1e-6, kernel_flops(4, 4), 2**30)
    factors.start(x)
    monkeypatch.setattr(compression, "error", lambda *_: compression.CompressionError(rms, worst))
    if fails:
        message = re.escape(f"compress to {rms:.1e} (worst sample {worst:.1e}), not to 1.0e-06")
        with pytest.raises(CompressionFailed, match=message):
            factors(x)
    else:
        assert factors(x).keys() == {"U", "W", "v"}
        assert factors.compression_error == rms


def test_samples_with_a_derivative_are_not_compressed_by_a_basis_of_samples_without():
    model = NeuralODE(1, 1, activation="relu", solver=Solver("euler", steps=3)).double()
    with torch.no_grad():
        for parameter, number in ((model.U, 1.0), (model.W, 1.0), (model.v, 1.0)):
            parameter.fill_(number)
    off, on = -torch.ones(4, 1, dtype=torch.float64), torch.ones(4, 1, dtype=torch.float64)
    layout = Layout("trace", torch.float64)
    factors = RecordedFactors(Recorder(model), 1, layout, "compressed", 1e-6, kernel_flops(4, 4), 2**30)
    factors.start(off)
    with pytest.raises(CompressionFailed, match=r"compress to 1\.0e"):
        factors(on)


def test_calls_that_do_not_depend_on_each_other_are_not_compressed():
    def function(m, x):
        return sum((((1 + j) * x + j).sin() @ m.W).tanh() for j in range(4))

    model, x = seeded(lambda: Model(function, W=(6, 6))), inputs(20)
    choice = measure_ntk(model, x).report.choices["W"]
    assert choice.calls == 4
    assert choice.bases is None


def test_an_output_that_merges_the_rows_is_refused():
    model = seeded(lambda: Model(lambda m, x: m.a(x).mean(0, keepdim=True), a=linear()))
    with pytest.raises(ValueError, match=r"shape \(1, 2\), not \(N=3, k\)"):
        empirical_ntk(model, inputs(5))
