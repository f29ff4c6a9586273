"""How a kernel is cut to lie within `max_bytes`, counted in this process."""

import pytest
import torch
from tests.ntk.empirical.recorded_models import Model, inputs, linear, seeded

from ntkode.integrate import Solver
from ntkode.models import NeuralODE
from ntkode.ntk import empirical_ntk, measure_ntk
from ntkode.ntk.empirical import engine
from ntkode.ntk.empirical.recording import Recorder

K = 3


def ode():
    torch.manual_seed(0)
    return NeuralODE(6, 9, K, activation="tanh", solver=Solver("euler", steps=2)).double()


@pytest.mark.parametrize(
    ("options", "rows", "kernels"),
    [
        ({}, 5 * 4, 2),
        ({"outputs": "sum"}, 5 * 4, 2),
        ({"outputs": "full"}, 5 * K * 4 * K, 2),
        ({"outputs": "full", "blocks": True}, 5 * K * 4 * K, 4),
        ({"dtype": torch.float32}, 5 * 4 / 2, 2),
    ],
)
def test_the_budget_must_hold_all_kernels_and_one_more(options, rows, kernels):
    needed = int(8 * rows * kernels)
    for max_bytes in (needed - 1, needed):
        with pytest.raises(ValueError, match=f"of 5 × 4 samples takes {needed} bytes"):
            empirical_ntk(ode(), inputs(5), inputs(4), max_bytes=max_bytes, **options)
    empirical_ntk(ode(), inputs(5), inputs(4), max_bytes=needed + 1, **options)


def test_the_budget_is_a_quarter_of_the_free_memory(monkeypatch):
    needed = 2 * 8 * 5 * 4
    monkeypatch.setattr(engine, "free_bytes", lambda device: 4 * needed + 3)
    with pytest.raises(ValueError, match=f"takes {needed} bytes, more than max_bytes={needed}"):
        empirical_ntk(ode(), inputs(5), inputs(4))
    monkeypatch.setattr(engine, "free_bytes", lambda device: 4 * needed + 4)
    empirical_ntk(ode(), inputs(5), inputs(4))


@pytest.mark.parametrize("other", [None, 4])
@pytest.mark.parametrize("method", ["jacobian", "build"])
def test_as_many_rows_are_held_as_two_blocks_of_a_third_allow(method, other):
    model, x = ode(), inputs(6)
    x2 = None if other is None else inputs(other, seed=2)
    kernels = 2 * 8 * 6 * (other or 6)
    # Twice while they are stacked; half as much again for float32 copies of what is recorded.
    per_sample = sum(int((2 if method == "jacobian" else 1.5) * K * p.numel()) for p in model.parameters())
    all_rows = 6 if other is None else 12
    kernel = empirical_ntk(model, x, x2, method=method)
    for fitting in (0, 5, 6, all_rows - 1, all_rows, all_rows + 2):
        left = 3 * 8 * per_sample * fitting
        cut = measure_ntk(model, x, x2, method=method, max_bytes=kernels + max(left, 1))
        rows = cut.report.rows_at_once
        if fitting >= all_rows:
            assert rows == 6
        else:
            assert rows == 1 or 2 * rows * per_sample * 8 <= left // 3
            assert 2 * (rows + 1) * per_sample * 8 > left // 3
        assert float((cut.kernel - kernel).norm() / kernel.norm()) < 1e-12


def test_the_kernels_leave_less_for_the_blocks():
    model, x = linear(6, 1, bias=False).double(), inputs(40)
    kernels, per_sample = 2 * 8 * 40 * 40, 2 * 8 * 6
    report = measure_ntk(model, x, method="jacobian", max_bytes=kernels + 3 * 2 * 5 * per_sample).report
    assert report.rows_at_once == 5


def test_recorded_numbers_are_the_inputs_and_the_cotangents_of_each_output():
    model = seeded(lambda: Model(lambda m, x: m.b(m.a(x).tanh()), a=linear(6, 5), b=linear(5)))
    leak, numbers = Recorder(model).coupling(inputs(4))
    assert leak == 0
    assert numbers == (6 + 5) + 2 * (5 + 2)
