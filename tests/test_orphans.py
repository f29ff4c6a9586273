"""Workers end with the process that started them; jobs are tested in execution/test_jobs.py."""

import os
import subprocess
import sys

import psutil
import pytest

from ntkode import orphans

CHILD = """
import os, sys, time
from ntkode.orphans import kill_with_parent, kill_with_parent_in_environment
{end}
print("ready", os.environ.get("NTKODE_PARENT"), flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
time.sleep(60)
"""


def started(end):
    """A process and its child, which has called `end`."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD.format(end=end)], stdout=subprocess.PIPE, text=True
    )
    pid, text = process.stdout.readline().split(maxsplit=1)
    assert text.strip() == "ready None"
    return process, psutil.Process(int(pid))


@pytest.mark.parametrize(
    "end",
    [
        "kill_with_parent(os.getppid())",
        "os.environ['NTKODE_PARENT'] = str(os.getppid()); kill_with_parent_in_environment()",
    ],
)
def test_a_worker_ends_when_its_parent_is_killed(end):
    process, child = started(end)
    assert child.is_running()
    process.kill()
    process.communicate()
    child.wait(timeout=10)


def test_without_a_parent_in_the_environment_nothing_happens():
    process, child = started("kill_with_parent_in_environment()")
    process.kill()
    process.communicate()
    with pytest.raises(psutil.TimeoutExpired):
        child.wait(timeout=5 * orphans.POLL)
    child.kill()


def test_a_worker_whose_parent_has_ended_before_ends_at_once():
    end = f"kill_with_parent({os.getpid()})"  # not its parent, which is the process between
    code = CHILD.format(end=end).replace("60", "30")
    shell = f"{sys.executable} -c '{code}'; exit $?"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, timeout=20, check=False)
    assert done.returncode == 128 + 9


def test_all_has_ended_within_two_seconds():
    assert orphans.POLL + max(orphans.GRACE, orphans.SERVER_GRACE) <= 1.2
    assert orphans.GRACE < orphans.SERVER_GRACE
