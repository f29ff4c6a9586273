"""Kernels of float32 models have full precision, whatever PyTorch may round elsewhere."""

import pytest
import torch

from ntkode.models import NeuralODE
from ntkode.ntk import empirical_ntk, kernel_operator
from ntkode.ntk.empirical.precision import full_float32


def allowed():
    backends = torch.backends
    operations = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    return [operation.fp32_precision for operation in operations]


@pytest.fixture(params=["highest", "high", "medium"])
def precision(request):
    """A precision of matrix products that the caller allows."""
    torch.set_float32_matmul_precision(request.param)
    yield
    torch.set_float32_matmul_precision("highest")


def test_products_are_exact_within_the_block_alone(precision):
    before = allowed(), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with full_float32():
        assert allowed() == ["ieee"] * 4
    assert (allowed(), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_an_error_restores_the_precision(precision):
    before = allowed()
    with pytest.raises(ZeroDivisionError), full_float32():
        raise ZeroDivisionError
    assert allowed() == before


@pytest.mark.parametrize("max_bytes", [None, 0], ids=["stored", "autograd"])
def test_kernels_and_their_products_are_computed_with_exact_products(precision, max_bytes):
    seen = []

    class Seeing(NeuralODE):
        def forward(self, x):
            seen.append(allowed())
            return super().forward(x)

    model, x = Seeing(4, 8, activation="tanh"), torch.eye(4)
    empirical_ntk(model, x)
    operator = kernel_operator(model, x, max_bytes=max_bytes)
    operator(torch.ones(4, 1))
    assert seen
    assert all(state == ["ieee"] * 4 for state in seen)
