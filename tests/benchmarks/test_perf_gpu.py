"""`make gpu DEVICE=cpu`: every part at a small size; times are untested."""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "perf"
PEERS = ["loop", "jacrev"]


def run(script, *arguments):
    command = [sys.executable, SCRIPTS / script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)


@pytest.fixture
def perf(monkeypatch):
    """Modules of benchmarks/perf by their names."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


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


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_limit_that_is_no_time_is_refused(perf, capsys, seconds):
    with pytest.raises(SystemExit):
        perf("gpu").parsed(["--device", "cpu", "--limit-seconds", seconds])
    assert "--limit-seconds" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "gpu.md", "file/gpu.json", "folder.json"])
def test_a_file_that_cannot_be_written_is_refused_before_the_measurements(perf, capsys, tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(SystemExit):
        perf("gpu").parsed(["--device", "cpu", "--out", str(tmp_path / name)])
    assert f"--out {tmp_path / name}" in capsys.readouterr().err


def test_a_part_that_is_named_twice_runs_once(perf):
    assert perf("gpu").parsed(["--device", "cpu", "--parts", "jobs", "tests", "jobs"]).parts == [
        "jobs",
        "tests",
    ]


def test_an_error_of_one_measurement_leaves_the_others(perf, monkeypatch, tmp_path):
    gpu = perf("gpu")

    def full(_):
        raise OSError("no space left\non the device")

    rows = [
        gpu.Measurement("full", full, {"overrides": "seed=1"}),
        gpu.Measurement("done", lambda _: {"status": "done", "seconds": 1.0}, {"overrides": "seed=2"}),
    ]
    monkeypatch.setitem(gpu.PARTS, "jobs", lambda _: iter(rows))
    options = ["--device", "cpu", "--parts", "jobs", "--out", str(tmp_path / "gpu.json")]
    campaign = gpu.Campaign(gpu.parsed(options))
    campaign.carry_out()
    assert campaign.failed() == ["jobs, full: OSError: no space left"]
    assert "| done | `seed=2` | done | 1 s |" in (tmp_path / "gpu.md").read_text()


def test_a_page_says_that_the_commit_is_unknown(perf):
    hardware = {"gpus": [], "cpu": "a CPU"}
    record = {"hardware": hardware, "git": {"commit": None, "dirty": None}, "packages": {"torch": "2"}}
    page = perf("gpu_tables").markdown(record | {"started": "2026-11-28T00:00:00", "rows": []})
    assert "commit unknown." in page


def test_a_width_that_fails_leaves_the_times_of_the_others(perf, tmp_path):
    runner = perf("runner")
    (tmp_path / "result.json").write_text(
        '{"error": "n = 512: no memory", "by_width": {"256": {"seconds": 1}}}'
    )
    row = runner._result(tmp_path, 0, tmp_path / "log", runner.Limits(1.0, 1))
    assert row == {"status": "failed", "reason": "n = 512: no memory", "by_width": {"256": {"seconds": 1}}}


def test_an_end_from_outside_ends_all_processes(tmp_path):
    command = [sys.executable, SCRIPTS / "gpu.py", "--device", "cpu", "--parts", "jobs"]
    with subprocess.Popen(
        [*command, "--out", tmp_path / "gpu.json"], stderr=subprocess.PIPE, text=True
    ) as gpu:
        started = []
        while len(started) < 3 and gpu.poll() is None:
            time.sleep(0.1)
            started = psutil.Process(gpu.pid).children(recursive=True)
        gpu.terminate()
        assert "interrupted: nothing measured" in gpu.communicate(timeout=60)[1]
    assert gpu.returncode == 1
    assert psutil.wait_procs(started, timeout=10)[1] == []


def test_without_cuda_the_command_names_the_rehearsal():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = run("gpu.py")
    assert done.returncode == 2
    assert "--device cpu" in done.stderr


def test_the_packages_of_the_wheels_are_pinned(perf):
    pinned = (SCRIPTS.parents[1] / "constraints.txt").read_text().lower().replace("_", "-")
    for package in perf("wheels").PACKAGES:
        assert f"{package}==" in pinned


@pytest.fixture
def collect(perf, monkeypatch):
    """`wheels.collect`, for which pip has the wheels of the given names."""
    wheels = perf("wheels")

    def collected(names, folder):
        def pip(command, check):
            for name in names:
                (Path(command[command.index("--wheel-dir") + 1]) / name).touch()
            return subprocess.CompletedProcess(command, 0)

        monkeypatch.setattr(wheels.subprocess, "run", pip)
        return [wheel.name for wheel in wheels.collect(["some"], folder)]

    return collected


def test_a_wheel_replaces_other_versions_of_its_package(collect, tmp_path):
    names = ["some-2.0-py3-none-any.whl", "some_more-1.0-py3-none-any.whl"]
    for name in ["some-1.0-py3-none-any.whl", *names[1:]]:
        (tmp_path / name).touch()
    assert collect(names[:1], tmp_path) == names[:1]
    assert sorted(wheel.name for wheel in tmp_path.iterdir()) == names


def test_a_refused_wheel_is_not_left_in_the_folder(collect, tmp_path):
    with pytest.raises(SystemExit, match="one platform"):
        collect(["some-1.0-cp312-cp312-linux_x86_64.whl"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_wheels_that_cannot_be_written_is_named(collect, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=f"--into {tmp_path}/file/wheels cannot be written: Not a directory"):
        collect(["some-1.0-py3-none-any.whl"], tmp_path / "file" / "wheels")


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
