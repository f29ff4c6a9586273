"""`python benchmarks/perf/ntk.py` at a tiny size: all contestants compute one kernel; times are untested."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

whole = pytest.mark.integration  # nine processes that import torch
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "perf" / "ntk.py"
TORCH_PEERS = ["loop", "jacrev", "vectors"]


def run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("perf") / "ntk.json"
    done = run("--sizes", "16,24", "--solvers", "rk4", "--peers", *TORCH_PEERS, "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


@pytest.fixture
def rows(finished):
    return {row["contestant"]: row for row in json.loads(finished[0].read_text())["measurements"]}


@whole
def test_every_contestant_ends(rows):
    ours = ["peak", "ntkode", "ntkode-spectrum", "pass"]
    assert list(rows) == [*ours, *TORCH_PEERS, "accuracy", "accuracy-ill"]
    assert {row["status"] for row in rows.values()} == {"done"}


@whole
def test_kernels_agree(rows):
    # Peers compute in float32, a hundred operations deep: some 10 roundings of 6e-8 in norm.
    assert all(rows[name]["difference"] < 5e-6 for name in TORCH_PEERS)
    assert rows["ntkode-spectrum"]["difference"] < 1e-6


@whole
def test_times_and_memory_are_recorded(rows):
    for name in ("ntkode", "ntkode-spectrum", "pass", *TORCH_PEERS):
        assert 0 < rows[name]["seconds"] == min(rows[name]["repeats"]), name
        assert 0 <= rows[name]["memory"] <= rows[name]["peak_memory"], name
    assert rows["ntkode"]["details"]["flops"] > 2 * 16 * 24 * 24 * 40
    assert rows["peak"]["flops_a_second"] > 0


@whole
def test_lambda_min_is_compared_at_the_intended_condition(rows):
    # Well conditioned: float32 rounding of J_i, 1e-6, as in the engine's report.
    assert rows["accuracy"]["relative_error"] < 1e-5
    assert rows["accuracy-ill"]["condition_number"] == pytest.approx(1e6, rel=0.1)
    assert math.isfinite(rows["accuracy-ill"]["relative_error"])
    assert rows["ntkode-spectrum"]["details"]["lambda_min"] == pytest.approx(
        rows["accuracy"]["lambda_min"], rel=1e-5
    )


@whole
def test_record_says_where_and_how(finished):
    record = json.loads(finished[0].read_text())
    assert record["packages"]["torch"]
    assert record["hardware"]["cpu"]
    assert record["threads"] == 1
    assert record["protocol"]["limit_seconds"] == 300


@whole
def test_tables_are_stored_and_printed(finished):
    out, stdout = finished
    table = out.with_suffix(".md").read_text()
    assert table.strip() in stdout
    lines = [line for line in table.splitlines() if line.startswith("| 16 | 24 | rk4 |")]
    assert len(lines) == 3
    assert "–" not in lines[1]


def test_a_peer_beyond_the_limit_is_a_row(tmp_path):
    out = tmp_path / "ntk.json"
    limits = ["--limit-gigabytes", "0.05"]  # less than PyTorch itself takes
    done = run("--sizes", "4,8", "--solvers", "euler", "--peers", "loop", *limits, "--out", out)
    assert done.returncode == 1
    rows = {row["contestant"]: row for row in json.loads(out.read_text())["measurements"]}
    assert rows["loop"]["status"] == "memory"
    assert rows["loop"]["reason"] == "> 0.05 GB"
    assert "| – |" in out.with_suffix(".md").read_text()


@pytest.mark.parametrize("size", ["256", "1,512", "a,b"])
def test_unusable_size_is_one_clear_error(size, script, tmp_path):
    done = script("perf/ntk", "--sizes", size, "--out", tmp_path / "ntk.json")
    assert done.returncode == 2
    assert "is not N,n as in 256,512" in done.stderr
    assert not list(tmp_path.iterdir())
