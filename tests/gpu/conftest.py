"""The tests marked `gpu`: on CUDA where PyTorch finds a device, otherwise on the CPU by the same code.

NTKODE_TEST_DEVICE=cpu asks for the CPU on a machine with a GPU.
"""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
# Without it, deterministic algorithms refuse matrix products on a GPU; Lightning sets it in runs.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def device():
    """The device under test."""
    name = os.environ.get("NTKODE_TEST_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


@pytest.fixture
def deterministic():
    """PyTorch refuses operations that are not deterministic, as in runs."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def rounded_products(device):
    """A context with autocast, in which PyTorch may round float32 factors to TF32 or bfloat16."""

    @contextmanager
    def context():
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.allow_tf32 = True
        try:
            with torch.autocast(device.type, dtype=torch.bfloat16):
                yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.backends.cudnn.allow_tf32 = before[1]

    return context
