"""SIGKILLs at random moments of a sweep, its workers and its jobs leave no process, and change no digit."""

import os
import random
import time
import uuid

import psutil
import pytest
from tests.integration.commands import numbers, records, run, start, statuses

pytestmark = pytest.mark.integration

SWEEP = (
    *("-m", "activation=tanh,relu,softplus", "seed=0,1,2", "optimizer.lr=0.01", "sweep=s", "steps=400"),
    *("size=smoke", "dataset=digits", "width=w64", "metrics=standard", "logger=none"),
    "checkpoint.every_seconds=0.2",
)
KILLS = int(os.environ.get("NTKODE_TEST_KILLS", "6"))
MARK = "NTKODE_TEST_SWEEP"
TWO_SECONDS = 2.0 * 3  # on a machine that also runs other tests
KINDS = ("sweep", "worker", "job")


def processes(mark):
    """The running processes that have inherited `mark`, by kind."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.setdefault(kind(process), []).append(process)
        except (psutil.Error, AttributeError):  # it or its parent has ended, or it is of another user
            continue
    return found


def kind(process):
    command = " ".join(process.cmdline())
    if "run.py" in command:
        return "sweep"
    if "LokyProcess" in command:
        return "worker"
    if "forkserver" not in command:
        return "tracker"
    return "job" if "forkserver" in " ".join(process.parent().cmdline()) else "fork server"


def wait_until_gone(mark):
    """Seconds until no process has the mark."""
    began = time.monotonic()
    while left := processes(mark):
        assert time.monotonic() - began < TWO_SECONDS, left
        time.sleep(0.02)
    return time.monotonic() - began


def kill_some(cwd, chance, kinds, *overrides):
    """Run the sweep and kill its processes of `kinds` in turn, until it ends; the seconds that this takes."""
    mark = uuid.uuid4().hex
    process = start(cwd, *SWEEP, *overrides, env=os.environ | {MARK: mark})
    while kinds and process.poll() is None:
        until = time.monotonic() + chance.choice((0.5, 4.0, 12.0)) * chance.random()
        while time.monotonic() < until and process.poll() is None:
            time.sleep(0.02)
        victims = processes(mark).get(kinds[-1])
        if victims:
            chance.choice(victims).kill()
            if kinds.pop() == "sweep":
                seconds = wait_until_gone(mark)
                process.communicate()
                return seconds
    out, err = process.communicate(timeout=600)
    assert "Traceback" not in out + err
    return wait_until_gone(mark)


def done(cwd):
    return len(records(cwd)) == 9 and set(statuses(cwd).values()) == {"done"}


def test_killed_sweeps_end_with_the_numbers_of_an_undisturbed_one(tmp_path):
    folders = [tmp_path / name for name in ("undisturbed", "killed")]
    for folder in folders:
        folder.mkdir()
    undisturbed, killed = folders
    assert run(undisturbed, *SWEEP, "checkpoint.every_seconds=null")[0] == 0
    chance = random.Random(0)
    kinds = [KINDS[number % 3] for number in range(KILLS)]
    chance.shuffle(kinds)
    seconds, completed = [], 0
    while kinds:
        again = done(killed)
        completed += again
        seconds.append(kill_some(killed, chance, kinds, *(["rerun=all"] if again else [])))
    code, out, err = run(killed, *SWEEP, "rerun=failed")
    print(
        f"{KILLS} kills in {len(seconds)} sweeps, {completed} of them anew; gone after {max(seconds):.2f} s"
    )
    assert (code, err) == (0, ""), out
    assert done(killed)
    assert numbers(killed) == numbers(undisturbed)
    assert [path for path in killed.glob("results/*/.*") if path.name != ".lock"] == []
