"""Recorded kernels equal those by plain autograd."""

import pytest
import torch
import torch.nn.functional as F
from tests.ntk.empirical.recorded_models import (
    EXACT,
    HandWritten,
    Model,
    convolved,
    inputs,
    linear,
    one_by_one,
    relative,
    seeded,
    solved,
)
from tests.reference import dense_full_kernel
from torch import nn
from torch.utils.checkpoint import checkpoint

from ntkode.ntk import empirical_ntk, measure_ntk
from ntkode.ntk.empirical import recording
from ntkode.ntk.empirical.recording import Recorder


def frozen(model, name):
    model.get_parameter(name).requires_grad_(False)
    return model


def tied():
    model = nn.Sequential(linear(6, 6), nn.Tanh(), linear(6, 6), nn.Tanh(), linear())
    model[2].weight, model[2].bias = model[0].weight, model[0].bias
    return model


def changed_output(m, x):
    h = m.a(x)
    h.mul_(2).relu_()
    return m.b(h)


def changed_argument(m, x):
    x.mul_(2)
    return m.a(x)


def of_time_only(m, x):
    return m.a(x) * m.t(torch.full((len(x), 1), 0.3, dtype=x.dtype)).exp_()


def by_position(m, x):
    return (m.a(x.view(len(x), 2, 3)).tanh() + m.p).flatten(1)


RECORDED = {
    "mlp": lambda: nn.Sequential(linear(6, 5), nn.Tanh(), linear(5, 2)),
    "no bias": lambda: nn.Sequential(linear(6, 5, bias=False), nn.GELU(), linear(5, 1, bias=False)),
    "softmax output": lambda: nn.Sequential(linear(6, 5), nn.Tanh(), linear(5, 3), nn.Softmax(1)),
    "shared module": lambda: Model(lambda m, x: m.a(m.a(x).tanh()), a=linear(6, 6)),
    "tied modules": tied,
    "shared bias": lambda: Model(
        lambda m, x: F.linear(F.linear(x, m.W, m.b).tanh(), m.V, m.b) * 2 + m.b, W=(4, 6), V=(4, 4), b=(4,)
    ),
    "x @ W": lambda: Model(lambda m, x: (x @ m.W).tanh() @ m.W, W=(6, 6)),
    "x @ W.T": lambda: Model(lambda m, x: F.linear((x @ m.W.T).tanh(), m.W), W=(6, 6)),
    "W.mT in F.linear": lambda: Model(lambda m, x: F.linear((x @ m.W).tanh(), m.W.mT), W=(6, 6)),
    "converted to the same dtype": lambda: Model(
        lambda m, x: F.linear(x, m.W.to(x.dtype).contiguous(), m.b.to(x.dtype)), W=(2, 6), b=(2,)
    ),
    "transposed twice": lambda: Model(lambda m, x: (x @ m.W.t().T).tanh() @ m.W, W=(6, 6)),
    "positions": lambda: Model(by_position, a=linear(3, 2), p=(2,)),
    "elementwise at several places": lambda: Model(
        lambda m, x: (x * m.p - m.q).tanh() / m.p + torch.maximum(m.q, x), p=(6,), q=(6,)
    ),
    "scalar": lambda: Model(lambda m, x: (x * m.p).tanh() + m.p, p=()),
    "exponent": lambda: Model(lambda m, x: torch.pow(x.abs(), m.p), p=(6,)),
    "by channel": lambda: Model(lambda m, x: (x.view(len(x), 2, 1, 3) * m.p).tanh().flatten(1), p=(2, 1, 1)),
    "output changed in place": lambda: Model(changed_output, a=linear(6, 5), b=linear(5)),
    "in-place module": lambda: nn.Sequential(linear(6, 5), nn.ReLU(inplace=True), linear(5)),
    "argument changed in place": lambda: Model(changed_argument, a=linear()),
    "detached branch": lambda: Model(
        lambda m, x: F.linear(x, m.W).detach() * F.linear(x, m.V), W=(2, 6), V=(2, 6)
    ),
    "weight frozen": lambda: frozen(nn.Sequential(linear(6, 5), nn.Tanh(), linear(5)), "0.weight"),
    "bias frozen": lambda: frozen(nn.Sequential(linear(6, 5), nn.Tanh(), linear(5)), "0.bias"),
    "parameter without effect": lambda: Model(lambda m, x: m.a(x) + 0 * m.b(x), a=linear(), b=linear()),
    "parameter unused": lambda: Model(lambda m, x: m.a(x), a=linear(), b=linear()),
    "shape of a parameter": lambda: Model(lambda m, x: m.a(x) / m.a.weight.shape[1], a=linear()),
    "only rounding": lambda: Model(lambda m, x: (m.a(x) + m.p).softmax(1), a=linear(), p=()),
    "output independent of the input": lambda: Model(lambda m, x: 0 * x + m.p, p=(6,)),
    "of the time only": lambda: Model(of_time_only, t=linear(1, 2), a=linear()),
    "custom backward pass": lambda: Model(
        lambda m, x: m.b(HandWritten.apply(m.a(x))), a=linear(6, 5), b=linear(5)
    ),
    "checkpoint": lambda: Model(
        lambda m, x: checkpoint(lambda y: m.a(y).tanh(), x, use_reentrant=False) @ m.W,
        a=linear(6, 5),
        W=(5, 2),
    ),
    "layer norm without parameters": lambda: nn.Sequential(
        linear(6, 5), nn.LayerNorm(5, elementwise_affine=False), linear(5)
    ),
    "dropout in evaluation": lambda: nn.Sequential(linear(6, 5), nn.Dropout(0.5), linear(5)).eval(),
    "batch norm in evaluation": lambda: nn.Sequential(
        linear(6, 5), nn.BatchNorm1d(5, affine=False), nn.Tanh(), linear(5)
    ).eval(),
    "torchdiffeq rk4": lambda: solved(method="rk4", options={"step_size": 0.25}),
    "conv1d": lambda: convolved(nn.Conv1d(2, 3, 2), 2, 3),
    "conv1d stride, padding, dilation": lambda: convolved(nn.Conv1d(1, 3, 2, 2, 1, 2), 1, 6),
    "conv1d even, same": lambda: convolved(nn.Conv1d(1, 3, 4, padding="same", dilation=3), 1, 6),
    "conv1d valid": lambda: convolved(nn.Conv1d(2, 3, 2, padding="valid", bias=False), 2, 3),
    "conv1d groups": lambda: convolved(nn.Conv1d(2, 4, 2, groups=2), 2, 3),
    "conv1d circular": lambda: convolved(nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), 2, 3),
    "conv2d": lambda: convolved(nn.Conv2d(1, 3, 2), 1, 2, 3),
    "conv2d uneven": lambda: convolved(nn.Conv2d(1, 3, (1, 2), (2, 1), (1, 0), (1, 2)), 1, 2, 3),
    "conv2d even, same": lambda: convolved(nn.Conv2d(1, 3, (4, 2), padding="same", dilation=(1, 3)), 1, 2, 3),
    "conv2d depthwise": lambda: convolved(nn.Conv2d(2, 4, (1, 2), groups=2), 2, 1, 3),
    "conv weight shared between strides": lambda: Model(
        lambda m, x: F.conv1d(
            F.conv1d(x.view(len(x), 2, 3), m.W, padding=1).tanh(), m.W, None, 2, 2, 2
        ).flatten(1),
        W=(2, 2, 3),
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_kernels_are_exact(name):
    model, x = seeded(RECORDED[name]), inputs()
    reference = one_by_one(model, x, x)
    for method in ("pairs", "build", "compressed"):
        measured = measure_ntk(model, x.clone(), method=method, outputs="full")
        assert measured.report.method == "recorded"
        assert relative(measured.kernel, reference) < EXACT, method


WITHOUT_EFFECT = {
    "times zero": lambda: Model(lambda m, x: 0 * m.a(x), a=linear()),
    "unused": lambda: Model(lambda m, x: x[:, :2], a=linear()),
    "constant output": lambda: Model(lambda m, x: 0 * x[:, :2] + 1, a=linear()),
}


@pytest.mark.parametrize("outputs", ["trace", "full", "sum"])
@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_parameters_without_effect_have_a_kernel_of_zero(name, outputs):
    for method in ("pairs", "build", "compressed"):
        measured = measure_ntk(seeded(WITHOUT_EFFECT[name]), inputs(), method=method, outputs=outputs)
        assert not measured.kernel.any()
        assert measured.report.jacobian_error == 8 * 2.0**-52


def test_a_derivative_that_vanishes_up_to_rounding_is_recorded():
    # A softmax does not depend on p: its derivative is the rounding of a sum of fifty numbers.
    model = seeded(lambda: Model(lambda m, x: (m.a(x) + m.p).softmax(1), a=linear(6, 50), p=())).float()
    assert measure_ntk(model, inputs().float(), method="pairs").report.method == "recorded"


def test_rounding_is_no_coupling():
    model = seeded(lambda: nn.Sequential(linear(6, 200), nn.Softmax(1))).float()
    assert measure_ntk(model, inputs().float(), method="pairs").report.coupling == 0


def test_a_detached_call_has_no_share_in_the_kernel_of_the_sum():
    model, x = seeded(RECORDED["detached branch"]), inputs()
    sums = one_by_one(model, x, x).view(5, 2, 5, 2).sum((1, 3))
    assert relative(empirical_ntk(model, x, method="pairs", outputs="sum"), sums) < EXACT


def test_frozen_parameters_are_not_recorded():
    for name, biases, k in (("mlp", {"0.bias", "2.bias"}, 2), ("no bias", set(), 1)):
        recorded = Recorder(frozen(seeded(RECORDED[name]), "0.weight"))(inputs(), torch.eye(k))
        assert recorded.calls.keys() == {"2.weight"}
        assert recorded.gradients.keys() == biases


@pytest.mark.parametrize("name", ["custom backward pass", "mlp"])
@pytest.mark.parametrize("rows", [1, 10, 15])
def test_several_backward_passes_make_the_same_kernel(monkeypatch, name, rows):
    # Passes of one output, of two, and of three of the four.
    monkeypatch.setattr(recording, "BATCHED_ROWS", rows)
    activation = HandWritten.apply if name == "custom backward pass" else torch.tanh
    model = seeded(lambda: Model(lambda m, x: m.b(activation(m.a(x))), a=linear(6, 5), b=linear(5, 4)))
    x = inputs()
    kernel = empirical_ntk(model, x, method="pairs", outputs="full")
    assert relative(kernel, one_by_one(model, x, x)) < EXACT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_recorded_gradients_are_float64(dtype):
    for name, k in (("mlp", 2), ("positions", 4), ("scalar", 6)):
        gradients = Recorder(seeded(RECORDED[name]).to(dtype))(inputs().to(dtype), torch.eye(k)).gradients
        assert {g.dtype for g in gradients.values()} == {torch.float64}


@pytest.mark.parametrize("name", ["mlp", "torchdiffeq rk4", "conv2d", "elementwise at several places"])
def test_the_reference_is_the_dense_one(name):
    model, x = seeded(RECORDED[name]), inputs()
    assert relative(one_by_one(model, x, x), dense_full_kernel(model, x, x)) < EXACT


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("name", ["mlp", "scalar", "positions", "conv1d groups"])
def test_few_rows_and_equal_rows(name, rows):
    model, x = seeded(RECORDED[name]), inputs(1).expand(rows, 6)
    other = inputs(4, seed=2)
    kernel = empirical_ntk(model, x, other, method="pairs", outputs="full")
    assert relative(kernel, one_by_one(model, x, other)) < EXACT


def test_inputs_of_three_and_four_dimensions():
    torch.manual_seed(0)
    image = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), linear(8)).double()
    words = nn.Sequential(linear(6, 3), nn.Tanh(), nn.Flatten(), linear(9)).double()
    for model, shape in ((image, (1, 3, 3)), (words, (3, 6))):
        x = torch.randn(5, *shape, dtype=torch.float64)
        kernel = empirical_ntk(model, x, method="pairs", outputs="full")
        assert relative(kernel, one_by_one(model, x, x)) < EXACT


def test_parameters_and_random_state_are_left_alone():
    model, x = seeded(RECORDED["mlp"]), inputs()
    state = torch.get_rng_state()
    empirical_ntk(model, x, method="pairs")
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
