"""`python benchmarks/perf/sweep.py` at a tiny size: the record is complete; times are untested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration  # two whole sweeps

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "perf" / "sweep.py"


def test_both_launchers_are_measured(tmp_path):
    out = tmp_path / "sweep.json"
    command = [sys.executable, SCRIPT, "--jobs", "4", "--seconds", "0.2", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(out.read_text())
    for launcher in ("basic", "local"):
        measured = record[launcher]
        assert measured["seconds"] > measured["compute_least"] > 0.1
        assert measured["overhead_most"] >= measured["overhead_median"] > 0
    assert record["local_to_basic"] > 0
