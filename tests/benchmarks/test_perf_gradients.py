"""`python benchmarks/perf/gradients.py --small`: a whole record with sane errors. Times go untested."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

whole = pytest.mark.integration  # eight processes that import torch
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "perf" / "gradients.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("perf") / "gradients.json"
    done = run("--small", "--seeds", "1", "--repeats", "2", "--peers", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


@pytest.fixture
def settings(finished):
    return json.loads(finished[0].read_text())["settings"]


@whole
def test_every_contestant_ends(settings):
    kinks, smooth = ({row["contestant"]: row["status"] for row in s["contestants"]} for s in settings)
    assert kinks == {"backprop": "done", "kink_averaged": "done"}
    assert smooth == {"backprop": "done", "checkpointed": "done"}


@whole
def test_kink_averaged_is_the_most_accurate_on_relu(settings):
    (row,) = settings[0]["errors"]
    errors = row["errors"]
    # At 10 steps a method of order 2 is about twenty times as accurate as one of order 1.
    assert errors["kink_averaged"] < errors["backprop"] / 5
    assert row["reference_error"] < errors["kink_averaged"] / 5


@whole
def test_checkpointed_is_backprop_in_float64(settings):
    assert settings[0]["equality"] is None
    assert settings[1]["equality"]["difference"] < 1e-12
    assert not settings[1]["errors"]


@whole
def test_times_and_both_memories_are_recorded(settings):
    rows = [row for setting in settings for row in setting["contestants"]]
    for row in (row for row in rows if row["status"] == "done"):
        assert 0 < row["seconds"] == min(row["repeats"])
        assert len(row["repeats"]) == 2
    # 40 activations against 10 states and 4 activations, plus what any method holds.
    memory = {row["contestant"]: row for row in settings[1]["contestants"]}
    assert 0 < memory["checkpointed"]["allocated"] < 0.9 * memory["backprop"]["allocated"]
    assert all(row["resident"] >= 0 for row in memory.values())


@whole
def test_targets_are_ratios_of_this_record(finished, settings):
    targets = json.loads(finished[0].read_text())["targets"]
    assert [(t["contestant"], t["quantity"]) for t in targets] == [
        ("kink_averaged", "error"),
        ("kink_averaged", "seconds"),
        ("checkpointed", "allocated"),
        ("checkpointed", "resident"),
        ("checkpointed", "seconds"),
    ]
    errors = [row["errors"] for row in settings[0]["errors"]]
    ratio = statistics.median(e["kink_averaged"] / e["backprop"] for e in errors)
    assert targets[0]["ratio"] == pytest.approx(ratio)
    # A problem this small may not change the resident memory.
    known = [t for t in targets if t["ratio"] is not None]
    assert len(known) >= 4
    assert all(t["kept"] == (t["ratio"] <= t["at_most"]) for t in known)


@whole
def test_record_says_where_and_how(finished):
    record = json.loads(finished[0].read_text())
    assert record["packages"]["torchdiffeq"]
    assert record["hardware"]["cpu"]
    assert record["threads"] == 1
    expected = {"features": 784, "outputs": 10, "solver": "rk4", "steps": 10, "repeats": 2}
    assert record["protocol"] == expected | {"repeated_for_seconds": 0.0, "limit_seconds": 300.0}


@whole
def test_page_and_terminal_show_every_setting(finished):
    out, stdout = finished
    page = out.with_suffix(".md").read_text()
    for title in ("relu, N = 32, n = 32", "tanh, N = 128, n = 48"):
        assert f"## {title}" in page
        assert title in stdout
    assert page.count("| kink_averaged | ") == 1


@pytest.mark.parametrize(("option", "value"), [("--seeds", "0"), ("--repeats", "a")])
def test_unusable_counts_are_one_clear_error(option, value, script, tmp_path):
    done = script("perf/gradients", option, value, "--out", tmp_path / "gradients.json")
    assert done.returncode == 2
    assert "is not an integer ≥ 1" in done.stderr
    assert not list(tmp_path.iterdir())
