"""`make gpu DEVICE=cpu`: every part at a small size; times are untested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "perf"
PEERS = ["loop", "jacrev"]


def run(script, *arguments):
    command = [sys.executable, SCRIPTS / script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    out = tmp_path_factory.mktemp("gpu") / "gpu.json"
    one_test = ("--tests", "tests/gpu/test_numbers.py::test_a_spectrum")
    done = run("gpu.py", "--device", "cpu", "--out", out, *one_test)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text()), out.with_suffix(".md").read_text()


def test_every_part_ends(record):
    rows = record[0]["rows"]
    assert {row["part"] for row in rows} == {"tests", "kernels", "training", "jobs"}
    assert {row["status"] for row in rows} == {"done"}
    assert rows[0]["counts"] == {"passed": 1}


def test_the_page_has_every_number(record):
    page = record[1]
    for text in (
        "1 passed",
        "TFLOP/s",
        "| 24 | 24 |",
        "| 48 | 16 |",
        "| 16 |",
        "| main sweep | `-m activation",
    ):
        assert text in page
    assert "nan" not in page


def test_training_steps_have_a_time_at_every_width(record):
    steps = {row["contestant"]: row for row in record[0]["rows"] if row["part"] == "training"}
    assert list(steps) == ["ntkode", "torchdiffeq", "metrics", "compiled"]
    for row in steps.values():
        assert list(row["by_width"]) == [str(width) for width in row["widths"]]
        assert all(step["seconds"] > 0 for step in row["by_width"].values())


def test_a_failed_test_is_named_and_fails_the_command(tmp_path):
    test = tmp_path / "test_wrong.py"
    test.write_text("import pytest\n\n@pytest.mark.gpu\ndef test_wrong():\n    assert 1 == 2\n")
    out = tmp_path / "gpu.json"
    done = run("gpu.py", "--device", "cpu", "--parts", "tests", "--out", out, "--tests", test)
    assert done.returncode == 1
    [row] = json.loads(out.read_text())["rows"]
    assert row["status"] == "failed"
    assert row["counts"] == {"failed": 1}
    assert "test_wrong" in out.with_suffix(".md").read_text()


def test_what_the_time_does_not_allow_is_left_out(tmp_path):
    out = tmp_path / "gpu.json"
    done = run("gpu.py", "--device", "cpu", "--parts", "jobs", "--limit-seconds", "1e-6", "--out", out)
    assert done.returncode == 0, done.stderr
    assert {row["status"] for row in json.loads(out.read_text())["rows"]} == {"timeout"}


def test_tests_that_do_not_end_fail_the_command(tmp_path):
    out = tmp_path / "gpu.json"
    done = run("gpu.py", "--device", "cpu", "--parts", "tests", "--limit-seconds", "1e-6", "--out", out)
    assert done.returncode == 1
    assert "pytest -m gpu: no time left" in done.stderr


def test_without_cuda_the_command_names_the_rehearsal():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = run("gpu.py")
    assert done.returncode == 2
    assert "--device cpu" in done.stderr


def test_the_packages_of_the_wheels_are_pinned():
    sys.path.insert(0, str(SCRIPTS))
    try:
        from wheels import PACKAGES
    finally:
        sys.path.remove(str(SCRIPTS))
    pinned = (SCRIPTS.parents[1] / "constraints.txt").read_text().lower().replace("_", "-")
    for package in PACKAGES:
        assert f"{package}==" in pinned


@pytest.mark.integration
def test_wheels_are_collected(tmp_path):
    done = run("wheels.py", "omegaconf", "--into", tmp_path)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name.startswith("omegaconf-")
    assert str(wheel) in done.stdout


@pytest.mark.integration
def test_a_wheel_of_one_platform_is_refused(tmp_path):
    done = run("wheels.py", "psutil", "--into", tmp_path)
    assert done.returncode == 1
    assert "one platform" in done.stderr
