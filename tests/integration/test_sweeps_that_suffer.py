"""Sweeps that are killed, run out of disk space, or share a folder lose no result and no digit."""

import os
import random
import resource
import signal
import subprocess
import time

import psutil
import pytest
from tests.integration.commands import numbers, records, run, start, statuses

from ntkode.results import load_history

pytestmark = pytest.mark.integration

SWEEP = (
    *("-m", "activation=tanh,relu", "optimizer=gd,adam"),
    *("size=smoke", "dataset=digits", "width=w64", "metrics=standard", "logger=none"),
    *("steps=300", "optimizer.lr=0.01", "checkpoint.every_seconds=0.2", "sweep=s"),
)
KILLS = 10


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The numbers of an undisturbed sweep without checkpoints."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    assert run(cwd, *SWEEP, "checkpoint.every_seconds=null")[0] == 0
    return numbers(cwd)


def kill_at_random(cwd, chance):
    """Start the sweep and kill all its processes at a random time; whether it was still running."""
    process = start(cwd, *SWEEP)
    began, rows = time.monotonic(), len(load_history_quietly(cwd))
    # Half the kills follow new rows; the others may fall into the start, the preparation or the end.
    waits_for_rows = chance.random() < 0.5
    deadline = began + chance.uniform(0.0, 20.0) + (60.0 if waits_for_rows else 0.0)
    while time.monotonic() < deadline and process.poll() is None:
        if waits_for_rows and len(load_history_quietly(cwd)) > rows + 5:
            time.sleep(chance.uniform(0.0, 1.5))
            break
        time.sleep(0.02)
    running = process.poll() is None
    if running:
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        psutil.wait_procs(children, timeout=10)
    process.communicate()
    return running


def load_history_quietly(cwd):
    try:
        return load_history(cwd / "results")
    except LookupError:
        return []


@pytest.mark.filterwarnings("ignore:left out unreadable")
@pytest.mark.parametrize("seed", [0])
def test_a_sweep_that_is_killed_ten_times_ends_with_the_same_numbers(tmp_path, expected, seed):
    chance = random.Random(seed)
    killed = sum(kill_at_random(tmp_path, chance) for _ in range(KILLS))
    resumed = [len((record.provenance() or {}).get("resumed", [])) for record in records(tmp_path)]
    print(f"killed {killed} times; the runs were resumed {resumed} times")
    code, out, err = run(tmp_path, *SWEEP)
    assert (code, err) == (0, ""), out
    assert set(statuses(tmp_path).values()) == {"done"}
    assert numbers(tmp_path) == expected
    leftovers = [path for path in tmp_path.glob("results/*/.*") if path.name != ".lock"]
    assert leftovers == []


def test_two_sweeps_at_once_on_one_folder(tmp_path, expected):
    both = [start(tmp_path, *SWEEP) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=600)
        assert "Traceback" not in out + err
        assert err == "" or "another process is computing" in err
    assert run(tmp_path, *SWEEP)[0] == 0
    assert numbers(tmp_path) == expected


# ------------------------------------------------------------------ no disk space


def limited(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a file system with the given options and returns its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", *options, str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a file system is not allowed here")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def test_files_that_may_not_grow(tmp_path, expected):
    code, out, err = run(tmp_path, *SWEEP, preexec_fn=limited(40_000))
    assert code == 1
    assert "Traceback" not in out + err
    assert set(statuses(tmp_path).values()) == {"error"}
    unwrapped = " ".join(out.split())
    assert unwrapped.count("File too large → free space on the disk") == len(expected)
    assert run(tmp_path, *SWEEP, "rerun=failed")[0] == 0
    assert numbers(tmp_path) == expected


def test_a_disk_that_is_full(small_disk, expected):
    cwd = small_disk(["-t", "tmpfs", "-o", "size=1M", "tmpfs"])
    code, out, err = run(cwd, *SWEEP)
    assert code != 0
    assert "Traceback" not in out + err
    assert "No space left on device" in out + err
    subprocess.run(["mount", "-o", "remount,size=100M", str(cwd)], check=True)
    code, out, _ = run(cwd, *SWEEP, "rerun=failed")
    assert code == 0, out
    assert numbers(cwd) == expected


def test_a_folder_that_is_read_only(small_disk, expected):
    cwd = small_disk(["-t", "tmpfs", "-o", "ro", "tmpfs"])
    code, out, err = run(cwd, *SWEEP)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "results_dir=results cannot be written to" in err
