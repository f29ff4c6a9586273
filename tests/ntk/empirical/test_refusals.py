"""The recorder refuses uses of a parameter that it cannot record, and names the parameter."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.ntk.empirical.recorded_models import (
    EXACT,
    HandWrittenLinear,
    Model,
    Unseen,
    convolved,
    inputs,
    linear,
    one_by_one,
    relative,
    seeded,
    solved,
)
from torch import nn
from torch.nn.utils import parametrizations
from torchdiffeq import odeint_adjoint

from ntkode.ntk import NotRecordableError, empirical_ntk, measure_ntk
from ntkode.ntk.empirical import tape
from ntkode.ntk.empirical.layers import convolution
from ntkode.ntk.empirical.recording import Recorder


def gradientless(m, x):
    with torch.no_grad():
        scale = F.linear(x, m.W)
    return F.linear(x, m.V) * scale


def without_mean(m, x, *, stop=False):
    h = m.a(x).tanh()
    mean = h.mean(0)
    return m.b(h - (mean.detach() if stop else mean))


def overwritten(m, x):
    h = x * 2
    first = m.a(x).tanh()
    second = m.a(h)
    h.zero_()  # after the call
    return first * second


def scaled_without_gradients(m, x):
    with torch.no_grad():
        scale = x * m.p
    return m.a(x) * scale[:, :2]


def transposed_without_gradients(m, x):
    with torch.no_grad():
        transposed = m.W.T
    return F.linear(x, transposed) * m.a(x)


def attended(m, x):
    h = m.e(x).view(len(x), 3, 4)
    return m.a(h, h, h, need_weights=False)[0].flatten(1)[:, :2]


def over_rows(m, x):
    return torch.func.vmap(lambda y: (y.view(3, 2) @ m.W).tanh().flatten())(x)


def positive(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    return model


BROKEN_UP = {
    # name → (model, pattern of the error message)
    "W and W.T": (lambda: Model(lambda m, x: (x @ m.W.T).tanh() @ m.W, W=(6, 6)), "'W' is used both as W"),
    "W and W.T, not square": (lambda: Model(lambda m, x: (x @ m.W.T).tanh() @ m.W, W=(4, 6)), "as W and as"),
    "F.linear and @": (lambda: Model(lambda m, x: F.linear(x, m.W).tanh() @ m.W, W=(6, 6)), "'W' is used"),
    "two numbers of groups": (
        lambda: Model(
            lambda m, x: F.conv1d(
                F.conv1d(x.view(len(x), 2, 3), m.W, padding=1).tanh().view(len(x), 4, 3),
                m.W,
                groups=2,
                padding=1,
            ).flatten(1),
            W=(4, 2, 3),
        ),
        "numbers of groups",
    ),
    "Linear and convolution": (
        lambda: Model(
            lambda m, x: F.conv1d(F.linear(x, m.W).view(len(x), 6, 1), m.W[:, :, None]).flatten(1), W=(6, 6)
        ),
        "'W' is used by __getitem__",
    ),
    "weight and elementwise": (
        lambda: Model(lambda m, x: F.linear((x[:, None, :] * m.W).sum(1), m.W), W=(6, 6)),
        "'W' is a weight in one place",
    ),
    "bias of one entry": (lambda: Model(lambda m, x: F.linear(x, m.W, m.b), W=(4, 6), b=(1,)), "by linear"),
    "bias without dimensions": (lambda: Model(lambda m, x: F.linear(x, m.W, m.b), W=(4, 6), b=()), "linear"),
    "weight as bias": (
        lambda: Model(lambda m, x: F.linear(F.linear(x, m.V), m.W, m.W), V=(1, 6), W=(1, 1)),
        "'W' is used by linear",
    ),
    "weight of one dimension": (lambda: Model(lambda m, x: F.linear(x, m.w)[:, None], w=(6,)), "'w'"),
    "x @ w": (lambda: Model(lambda m, x: (x @ m.w).tanh()[:, None], w=(6,)), "'w' is used by matmul"),
    "+=": (lambda: Model(lambda m, x: (x * 2).__iadd__(m.p).tanh(), p=(6,)), "'p' is used by add_"),
    "add_": (lambda: Model(lambda m, x: (x * 2).add_(m.p).tanh(), p=(6,)), "'p' is used by add_"),
    "add, alpha": (lambda: Model(lambda m, x: torch.add(x, m.p, alpha=2).tanh(), p=(6,)), "used by add;"),
    "add, by name": (lambda: Model(lambda m, x: torch.add(x, other=m.p).tanh(), p=(6,)), "used by add;"),
    "addcmul": (lambda: Model(lambda m, x: torch.addcmul(x, x, m.p).tanh(), p=(6,)), "used by addcmul"),
    "without the batch": (lambda: Model(lambda m, x: (2 - m.p) * x, p=(6,)), "'p' is used by __rsub__"),
    "beside a constant": (
        lambda: Model(lambda m, x: x[:, :3] * (torch.arange(3.0, dtype=x.dtype) * m.p), p=()),
        "depend on one another",
    ),
    "beside a constant of another length": (
        lambda: Model(lambda m, x: x[:, :2] * (torch.arange(2.0, dtype=x.dtype) * m.p), p=()),
        "'p' is used by mul",
    ),
    "times a number without dimensions": (
        lambda: Model(lambda m, x: x * (torch.tensor(2.0, dtype=x.dtype) * m.p), p=(6,)),
        "'p' is used by mul",
    ),
    "as many dimensions as the batch": (lambda: Model(lambda m, x: x * m.p, p=(1, 6)), "'p' is used by"),
    "transposed, elementwise": (
        lambda: Model(lambda m, x: (x[:, :, None] * m.W.T).sum(1), W=(4, 6)),
        "'W' is used by",
    ),
    "PReLU": (lambda: nn.Sequential(linear(6, 4), nn.PReLU(4), linear(4)), r"module '1' \(PReLU\)"),
    "parameter as input": (
        lambda: Model(lambda m, x: m.a(x) * F.linear(m.V, m.W).sum(0), a=linear(), V=(3, 6), W=(2, 6)),
        "'V' is used by linear",
    ),
    "matmul, by name": (
        lambda: Model(lambda m, x: torch.matmul(x, other=m.W).tanh(), W=(6, 2)),
        "'W' is used by matmul",
    ),
    "matrices side by side": (
        lambda: Model(lambda m, x: (x.view(len(x), 2, 1, 3) @ m.W).flatten(1), W=(2, 3, 2)),
        "'W' is used by matmul",
    ),
    "elementwise, no_grad": (
        lambda: Model(scaled_without_gradients, a=linear(), p=(6,)),
        "'p' is used by mul without gradients",
    ),
    "transposed, no_grad": (
        lambda: Model(transposed_without_gradients, a=linear(), W=(6, 2)),
        "'W' is used by .* without gradients",
    ),
    "no_grad": (lambda: Model(gradientless, W=(2, 6), V=(2, 6)), "'W' is used by linear without gradients"),
    "autograd.Function": (
        lambda: Model(lambda m, x: HandWrittenLinear.apply(m.a(x).tanh(), m.W), a=linear(6, 5), W=(2, 5)),
        "'W' is used by .* without gradients",
    ),
    "unseen": (
        lambda: Model(
            lambda m, x: m.b(Unseen.apply(m.a(x).tanh(), m.W)), a=linear(6, 5), W=(5, 5), b=linear(5)
        ),
        "'W' has another derivative",
    ),
    "odeint_adjoint": (
        lambda: solved(solve=odeint_adjoint, method="rk4", options={"step_size": 0.25}),
        "'w.weight' of module 'w'",
    ),
    "bilinear": (lambda: Model(lambda m, x: F.bilinear(x, x, m.W), W=(2, 6, 6)), "'W' is used by bilinear"),
    "einsum": (lambda: Model(lambda m, x: torch.einsum("ni,oi->no", x, m.W), W=(2, 6)), "used by einsum"),
    "torch.ops": (lambda: Model(lambda m, x: torch.ops.aten.linear(x, m.W), W=(2, 6)), "'W' is used by"),
    "weight norm": (lambda: parametrizations.weight_norm(linear()), "parametrizations.weight"),
    "spectral norm": (lambda: parametrizations.spectral_norm(linear()).eval(), "parametrizations.weight"),
    "layer norm": (lambda: nn.Sequential(linear(6, 5), nn.LayerNorm(5), linear(5)), r"'1' \(LayerNorm\)"),
    "batch norm": (
        lambda: nn.Sequential(linear(6, 5), nn.BatchNorm1d(5), linear(5)).eval(),
        r"'1' \(BatchNorm1d\)",
    ),
    "attention": (
        lambda: Model(attended, e=linear(6, 12), a=nn.MultiheadAttention(4, 2, batch_first=True)),
        r"'a' \(MultiheadAttention\) is used by",
    ),
    "GRU cell": (
        lambda: Model(lambda m, x: m.g(x, x.new_zeros(len(x), 4)), g=nn.GRUCell(6, 4)),
        r"'g' \(GRUCell\)",
    ),
    "transposed convolution": (lambda: convolved(nn.ConvTranspose1d(2, 3, 2), 2, 3), r"\(ConvTranspose1d\)"),
    "Conv3d": (lambda: convolved(nn.Conv3d(1, 3, (1, 2, 2)), 1, 1, 2, 3), r"module 'c' \(Conv3d\)"),
    "positions as rows": (
        lambda: Model(lambda m, x: m.a(x.reshape(-1, 3)).view(len(x), -1), a=linear(3)),
        r"module 'a' \(Linear\)",
    ),
    "positions first": (
        lambda: Model(
            lambda m, x: m.a(x.view(len(x), 3, 2).transpose(0, 1)).tanh().transpose(0, 1).flatten(1),
            a=linear(2),
        ),
        "depend on one another",
    ),
    "rows reversed inside": (
        lambda: Model(lambda m, x: m.b(m.a(x.flip(0)).tanh()).flip(0), a=linear(6, 5), b=linear(5)),
        "depend on one another",
    ),
    "input less its mean": (
        lambda: Model(lambda m, x: m.a(x - x.mean(0)), a=linear()),
        "depend on one another",
    ),
    "state less its mean": (
        lambda: Model(without_mean, a=linear(6, 5), b=linear(5)),
        "depend on one another",
    ),
    "coupled, in a softmax": (
        lambda: nn.Sequential(Model(without_mean, a=linear(6, 5), b=linear(5)), nn.Softmax(1)),
        "depend on one another",
    ),
    "coupled, small and negative": (
        lambda: positive(Model(lambda m, x: -1e-5 * (m.a(x) + m.a(x).mean(0)), a=linear())),
        "depend on one another",
    ),
    "less a constant mean": (
        lambda: Model(lambda m, x: without_mean(m, x, stop=True), a=linear(6, 5), b=linear(5)),
        "another derivative",
    ),
    "less a constant mean, in a softmax": (
        lambda: nn.Sequential(
            Model(lambda m, x: without_mean(m, x, stop=True), a=linear(6, 5), b=linear(5)), nn.Softmax(1)
        ),
        "another derivative",
    ),
    "vmap": (lambda: Model(lambda m, x: torch.func.vmap(m.a)(x), a=linear()), r"module 'a' \(Linear\)"),
    "vmap over what looks like rows": (lambda: Model(over_rows, W=(2, 2)), "'W' is used by matmul"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_UP)
def test_unrecordable_uses_are_named_and_auto_takes_the_jacobian(name):
    build, message = BROKEN_UP[name]
    model, x = seeded(build), inputs()
    for method in ("pairs", "build", "compressed"):
        with pytest.raises(NotRecordableError, match=message):
            empirical_ntk(model, x, method=method)
    measured = measure_ntk(model, x, outputs="full")
    assert measured.report.method == "jacobian"
    assert relative(measured.kernel, one_by_one(model, x, x)) < EXACT


def test_compiled_modules_take_the_jacobian():
    torch.manual_seed(0)
    inner = torch.jit.script(nn.Sequential(nn.Tanh(), linear(5)).double())
    model, x = nn.Sequential(linear(6, 5).double(), inner), inputs()
    with pytest.raises(NotRecordableError, match=r"module '1' \(RecursiveScriptModule\) is compiled"):
        empirical_ntk(model, x, method="pairs")
    assert relative(empirical_ntk(model, x, outputs="full"), one_by_one(model, x, x)) < EXACT


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Sequential(linear(6, 5), nn.Dropout(0.5), linear(5)), r"'1' \(Dropout\)"),
        (lambda: Model(lambda m, x: m.b(F.dropout(m.a(x))), a=linear(6, 5), b=linear(5)), "random numbers"),
        (
            lambda: Model(attended, e=linear(6, 12), a=nn.MultiheadAttention(4, 2, 0.5, batch_first=True)),
            "random numbers",
        ),
    ],
)
@pytest.mark.parametrize("method", ["auto", "pairs"])
def test_a_random_output_has_no_kernel(build, message, method):
    with pytest.raises(NotRecordableError, match=message):
        empirical_ntk(seeded(build), inputs(), method=method)


def test_modules_that_couple_the_batch_are_named():
    model = seeded(lambda: nn.Sequential(linear(6, 5), nn.BatchNorm1d(5), linear(5)))
    with pytest.raises(NotRecordableError, match=r"module '1' \(BatchNorm1d\)"):
        Recorder(model)


def test_an_input_changed_in_place_after_its_call_is_refused():
    # Plain autograd refuses such a model as well, so the kernel by any method does.
    model = seeded(lambda: Model(overwritten, a=linear()))
    with pytest.raises(
        NotRecordableError, match=r"'a\.weight' .* has a call whose input is changed in place"
    ):
        Recorder(model)(inputs(), torch.eye(2))


def test_an_output_of_three_dimensions_is_refused():
    model = seeded(lambda: Model(lambda m, x: m.a(x)[:, :, None], a=linear()))
    with pytest.raises(ValueError, match=r"shape \(5, 2, 1\), not \(N=5, k\)"):
        Recorder(model)(inputs(5), torch.eye(2))


def test_a_constant_mean_of_three_rows_is_detected():
    # As many rows as the recording is verified on.
    model = seeded(lambda: Model(lambda m, x: without_mean(m, x, stop=True), a=linear(6, 5), b=linear(5)))
    with pytest.raises(NotRecordableError, match="another derivative"):
        empirical_ntk(model, inputs(3), method="pairs")


def test_coupling_is_detected_if_the_first_inputs_are_one_row():
    # x1 is a single row, x2 a batch.
    model = seeded(lambda: Model(without_mean, a=linear(6, 5), b=linear(5)))
    with pytest.raises(NotRecordableError, match="depend on one another"):
        empirical_ntk(model, inputs(1), inputs(5), method="pairs")


def test_a_parameter_of_another_model_is_not_ignored():
    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear()
            self.function = lambda x: self.inner(x)  # the lambda of a copy refers to the original

        def forward(self, x):
            return self.function(x)

    with pytest.raises(ValueError, match="not among its parameters"):
        empirical_ntk(seeded(Held), inputs())


@pytest.mark.parametrize("options", [None, {"first_step": 0.1}])
def test_adaptive_solves_in_a_plain_module_report_their_accuracy(options):
    # The steps depend on the batch, so the kernel differs from that of single rows by about 1e-7.
    model, x = seeded(lambda: solved(method="dopri5", rtol=1e-7, atol=1e-9, options=options)), inputs()
    measured = measure_ntk(model, x, method="pairs", outputs="full")
    error = relative(measured.kernel, one_by_one(model, x, x))
    assert EXACT < measured.report.coupling < 1e-4
    # The coupling is measured on one row of three; that of others may be several times larger.
    assert error < 30 * measured.report.coupling


def test_the_recorded_derivative_is_verified(monkeypatch):
    def padded_at_the_near_end(weight, **options):
        layer = convolution(weight, **options)
        top, bottom, left, right = layer.padding
        return replace(layer, padding=(top, bottom, right, left))

    # A defect in the recorder itself.
    monkeypatch.setattr(tape, "convolution", padded_at_the_near_end)
    model = seeded(lambda: convolved(nn.Conv1d(1, 3, 4, padding="same", dilation=3), 1, 6))
    with pytest.raises(NotRecordableError, match=r"'c.weight' of module 'c' \(Conv1d\) has another"):
        empirical_ntk(model, inputs(), method="pairs")
