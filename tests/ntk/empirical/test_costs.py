"""The costs by which a contraction is selected, against the operations that torch counts."""

import pytest
import torch
from tests.ntk.empirical.recorded_models import Model, convolved, inputs, linear, seeded
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ntkode.integrate import Solver
from ntkode.models import NeuralODE
from ntkode.ntk import measure_ntk
from ntkode.ntk.empirical import compression
from ntkode.ntk.empirical.contraction import build, contract
from ntkode.ntk.empirical.layout import OUTPUTS, Layout
from ntkode.ntk.empirical.planning import CANDIDATES, Choice, Weight, kernel_flops
from ntkode.ntk.empirical.recording import Recorder

MODELS = {
    # name → (model, parameter, outputs)
    "two calls of a matrix": (lambda: Model(lambda m, x: (x @ m.W).tanh() @ m.W, W=(6, 6)), "W", 6),
    "positions": (
        lambda: Model(lambda m, x: m.a(x.view(len(x), 2, 3)).tanh().flatten(1), a=linear(3, 1)),
        "a.weight",
        2,
    ),
    "groups": (lambda: convolved(nn.Conv1d(2, 4, 2, groups=2, bias=False), 2, 3), "c.weight", 3),
}


def recorded(name, outputs, rows, seed):
    build_model, parameter, k = MODELS[name]
    layout = Layout(outputs, torch.float64)
    calls = Recorder(seeded(build_model))(inputs(rows, seed=seed), layout.seeds(k)).calls[parameter]
    return calls, layout, Weight.of(calls, layout)


def counted(work):
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@pytest.mark.parametrize("contraction", ["pairs", "build"])
@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("name", MODELS)
def test_a_kernel_costs_the_operations_that_torch_counts(name, outputs, contraction):
    calls, layout, weight = recorded(name, outputs, 5, seed=1)
    others, _, _ = recorded(name, outputs, 4, seed=2)
    first, second = layout.outer_products(calls), layout.outer_products(others)
    kernel = torch.zeros(weight.separate, 5, weight.separate, 4, dtype=torch.float64)

    def work():
        if contraction == "build":
            contract(build(first), build(second), kernel)
        else:
            contract(first, second, kernel)

    choice = Choice(weight, contraction)
    assert kernel_flops(5, 4)(choice) == counted(work)
    held = (first.inputs, first.cotangents) if contraction == "pairs" else (build(first).values,)
    assert choice.numbers == sum(t.numel() for t in held) / 5


@pytest.mark.parametrize("name", ["two calls of a matrix", "positions"])
def test_a_compression_costs_the_operations_that_torch_counts(name):
    calls, _, weight = recorded(name, "full", 5, seed=1)
    others, _, _ = recorded(name, "full", 4, seed=2)
    bases = tuple(compression.fit(some, 1e-12) for some in calls)

    def work():
        for group in (calls, others):
            for basis, some in zip(bases, group, strict=True):
                basis(some)

    extra = [
        kernel_flops(5, 4)(Choice(weight, contraction, bases)) - counted_without(weight, bases, contraction)
        for contraction in ("pairs", "build")
    ]
    assert extra == [counted(work)] * 2


def counted_without(weight, bases, contraction):
    """Operations of the contraction alone, with as many terms as the bases leave."""
    ranks = tuple(basis.rank for basis in bases)
    fewer = Weight(
        weight.p, weight.q, weight.groups, weight.positions, ranks, weight.outputs, weight.separate
    )
    return kernel_flops(5, 4)(Choice(fewer, contraction))


def test_the_sizes_of_a_weight_are_those_of_its_calls():
    calls, _, weight = recorded("groups", "full", 5, seed=1)
    # Two channels of three entries into four, in two groups, by a kernel of two: two positions.
    assert weight == Weight(p=2, q=2, groups=2, positions=(2,), calls=(1,), outputs=3, separate=3)
    trace, whole = (Weight.of(calls, Layout(outputs, torch.float64)) for outputs in ("trace", "sum"))
    assert (trace.separate, whole.separate) == (1, 1)


def test_each_method_has_its_candidate_contractions():
    assert set(CANDIDATES["auto"]) == {(c, k) for c in (False, True) for k in ("pairs", "build")}
    for method, contractions, compressed in (
        ("pairs", {"pairs"}, {False}),
        ("build", {"build"}, {False}),
        ("compressed", {"pairs", "build"}, {True}),
        ("uncompressed", {"pairs", "build"}, {False}),
    ):
        assert set(CANDIDATES[method]) == {(c, k) for c in compressed for k in contractions}


def ode(width=64, outputs=1):
    torch.manual_seed(0)
    solver = Solver("rk4", steps=10)
    return NeuralODE(6, width, outputs, activation="tanh", solver=solver).double()


def test_a_sample_takes_a_hundredth_of_the_memory_for_recording_where_it_can():
    model, x = ode(), inputs(8)
    kernels = 2 * 8 * 8 * 8  # bytes, of the kernel and of one more
    choices = measure_ntk(model, x, method="compressed").report.choices
    least = min(Choice(choices["W"].weight, k, choices["W"].bases).numbers for k in ("pairs", "build"))
    for most in (least, 64 * 64, 2 * 64 * 64):
        # A third of what the kernel leaves is for recording.
        budget = kernels + 3 * 100 * 8 * most
        selected = measure_ntk(model, x, max_bytes=budget + 3).report.choices["W"]
        assert selected.numbers <= most
