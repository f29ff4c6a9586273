"""The memory budget, measured by the system: torch's allocations are unknown to Python."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ntkode.integrate import Solver
from ntkode.models import NeuralODE
from ntkode.ntk import empirical_ntk, measure_ntk

MIB = 2**20
# Memory that the allocator keeps, and modules that the small first kernel does not load.
SLACK = 40
MEASURE = """
import re, torch
from pathlib import Path
from ntkode.integrate import Solver
from ntkode.models import NeuralODE
from ntkode.ntk import empirical_ntk

def status(name):
    return int(re.search(rf"{name}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

torch.set_num_threads(1)
torch.manual_seed(0)
model = NeuralODE(20, 200, activation="tanh", solver=Solver("euler", steps=5)).double()
x = torch.randn(ROWS, 20, dtype=torch.float64)
empirical_ntk(model, x[:4], method="METHOD")
Path("/proc/self/clear_refs").write_text("5")  # resets the peak; getrusage includes the parent's peak
before = status("VmRSS")
empirical_ntk(model, x, method="METHOD", max_bytes=BUDGET * 2**20)
print(status("VmHWM") - before)
"""


def increase(method, rows, budget):
    """Increase of the peak memory, in MiB, of a separate process that computes a kernel."""
    code = MEASURE
    for name, value in (("METHOD", method), ("ROWS", rows), ("BUDGET", budget)):
        code = code.replace(name, str(value))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def problem(rows):
    torch.manual_seed(0)
    model = NeuralODE(20, 200, activation="tanh", solver=Solver("euler", steps=5)).double()
    return model, torch.randn(rows, 20, dtype=torch.float64)


@pytest.mark.integration  # processes of their own
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak cannot be reset here")
@pytest.mark.parametrize("method", ["build", "pairs"])
def test_the_peak_stays_below_the_budget(method):
    assert increase(method, rows=400, budget=60) < 60 + SLACK


@pytest.mark.integration  # a process of its own
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak cannot be reset here")
def test_without_a_budget_the_peak_is_higher():
    # 400 samples of 200² + 200·21 numbers, 8 bytes each, once as recorded and again in float64 parts.
    assert increase("build", rows=400, budget=4000) > 60 + SLACK


@pytest.mark.parametrize("method", ["build", "pairs", "jacobian"])
@pytest.mark.parametrize("other", [False, True])
def test_blocks_change_nothing(method, other):
    model, x = problem(24)
    x2 = x[:10] + 1 if other else None
    whole = measure_ntk(model, x, x2, method=method, outputs="full")
    parts = measure_ntk(model, x, x2, method=method, outputs="full", max_bytes=12 * MIB)
    assert parts.report.rows_at_once < 24 <= whole.report.rows_at_once or method == "pairs"
    # The same products in float64, in blocks.
    assert float((parts.kernel - whole.kernel).norm() / whole.kernel.norm()) < 1e-12


def test_a_budget_that_does_not_hold_the_kernel_is_refused():
    model, x = problem(200)
    with pytest.raises(ValueError, match="max_bytes"):
        empirical_ntk(model, x, max_bytes=200 * 200 * 8)
