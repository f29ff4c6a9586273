"""Kernels of float32 models have full precision, whatever PyTorch may round elsewhere."""

import threading
from multiprocessing import get_context

import pytest
import torch

from ntkode.models import NeuralODE
from ntkode.ntk import AutogradOperator, empirical_ntk, kernel_operator
from ntkode.ntk.empirical.float32 import full_float32


def allowed():
    backends = torch.backends
    operations = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    return [operation.fp32_precision for operation in operations]


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU, as far as the settings are concerned."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)


@pytest.fixture(params=["highest", "high", "medium"])
def precision(request):
    """A precision of matrix products that the caller allows."""
    torch.set_float32_matmul_precision(request.param)
    yield
    torch.set_float32_matmul_precision("highest")


def test_products_are_exact_within_the_block_alone(precision, gpu):
    before = allowed(), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with full_float32():
        assert allowed() == ["ieee"] * 4
    assert (allowed(), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_an_error_restores_the_precision(precision, gpu):
    before = allowed()
    with pytest.raises(ZeroDivisionError), full_float32():
        raise ZeroDivisionError
    assert allowed() == before


KERNELS = {
    "kernel": empirical_ntk,
    "stored operator": lambda model, x: kernel_operator(model, x)(torch.ones(4, 1)),
    "autograd": lambda model, x: kernel_operator(model, x, max_bytes=0)(torch.ones(4, 1)),
    "AutogradOperator": lambda model, x: AutogradOperator(model, x)(torch.ones(4, 1)),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_and_their_products_are_computed_with_exact_products(precision, gpu, name):
    seen = []

    class Seeing(NeuralODE):
        def forward(self, x):
            seen.append(allowed())
            return super().forward(x)

    model, x = Seeing(4, 8, activation="tanh"), torch.eye(4)
    KERNELS[name](model, x)
    assert seen
    assert all(state == ["ieee"] * 4 for state in seen)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_under_autocast_are_those_without_it(name):
    torch.manual_seed(0)
    model, x = NeuralODE(4, 8, activation="tanh"), torch.randn(4, 4)
    expected = KERNELS[name](model, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(KERNELS[name](model, x), expected)
        assert torch.is_autocast_enabled("cpu")


# Statements of a caller; in the process of the test, they would change the settings of other tests.
SETTINGS = [
    "pass",
    "backends.fp32_precision = 'tf32'",
    "backends.cuda.matmul.allow_tf32 = True",
    "backends.cuda.matmul.fp32_precision = 'tf32'",
    "backends.cudnn.fp32_precision = 'tf32'",
    "backends.cudnn.conv.fp32_precision = 'tf32'",
    "backends.cudnn.allow_tf32 = False",
    "backends.mkldnn.fp32_precision = 'bf16'",
    "backends.mkldnn.matmul.fp32_precision = 'bf16'",
    "torch.set_float32_matmul_precision('medium')",
    "torch.set_float32_matmul_precision('high'); backends.cuda.matmul.fp32_precision = 'ieee'",
    "backends.fp32_precision = 'tf32'; backends.cuda.matmul.allow_tf32 = False",
]


def legacy(read):
    try:
        return read()
    except RuntimeError:
        return "mixed with newer settings"


def state():
    get, backends = torch._C._get_fp32_precision_getter, torch.backends
    operations = [get(b, o) for b in ("cuda", "mkldnn") for o in ("all", "matmul", "conv", "rnn")]
    older = [lambda: backends.cuda.matmul.allow_tf32, lambda: backends.cudnn.allow_tf32]
    return [
        backends.fp32_precision,
        *operations,
        *map(legacy, [torch.get_float32_matmul_precision, *older]),
    ]


def states(settings, machine, guarded):
    """The settings before and after a block, and after later changes, which reach what is unset."""
    torch.cuda.is_available = lambda: machine == "gpu"
    exec(settings, {"torch": torch, "backends": torch.backends})
    seen = [state()]
    if guarded:
        with full_float32(), full_float32():
            inside = (
                legacy(torch.get_float32_matmul_precision),
                legacy(lambda: torch.backends.cuda.matmul.allow_tf32),
            )
            assert machine == "cpu" or inside == ("highest", False)
    seen.append(state())
    for later in ("ieee", "tf32", "none"):
        torch.backends.fp32_precision = later
        seen.append(state())
    return seen


@pytest.fixture(scope="module")
def fresh():
    """A call in a process of its own, which has the settings of this one."""
    with get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        yield pool.apply


@pytest.mark.parametrize("machine", ["cpu", "gpu"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_block_leaves_no_trace_in_the_settings(fresh, settings, machine):
    guarded, without = (fresh(states, (settings, machine, block)) for block in (True, False))
    assert guarded == without


def test_without_a_gpu_the_settings_of_cudnn_are_legible_in_the_block(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    before = torch.backends.cudnn.allow_tf32
    with full_float32():
        assert torch.backends.cudnn.allow_tf32 == before


def test_a_block_of_another_thread_ends_without_effect_on_this_one(precision, gpu):
    begun, end = threading.Event(), threading.Event()

    def other():
        with full_float32():
            begun.set()
            end.wait(10)

    before = allowed()
    thread = threading.Thread(target=other)
    thread.start()
    begun.wait(10)
    with full_float32():
        end.set()
        thread.join()
        assert allowed() == ["ieee"] * 4
    assert allowed() == before
