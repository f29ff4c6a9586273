"""Workers of hydra/launcher=local: they end with the sweep, and one that is killed is named."""

import subprocess
import sys
import time

import psutil
import pytest

from ntkode.cli.workers import WORKER_KILLED

SWEEP = """
import sys, time
from joblib import Parallel, delayed
from omegaconf import OmegaConf
from ntkode.cli.workers import WorkersEndWithSweep

launcher = {"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"}
WorkersEndWithSweep().on_multirun_start(OmegaConf.create({"hydra": {"launcher": launcher}}))
try:
    Parallel(n_jobs=2, backend="loky")(delayed(time.sleep)(60) for _ in range(2))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def sweep():
    """A process with two workers, and all processes that it has started."""
    process = subprocess.Popen([sys.executable, "-c", SWEEP], stderr=subprocess.PIPE, text=True)
    while len(workers(process)) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    yield process, children
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=6)
    for child in alive:
        child.kill()
    process.communicate()
    assert alive == []


def workers(process):
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "LokyProcess" in " ".join(child.cmdline())]


def test_they_end_with_the_sweep(sweep):
    process, children = sweep
    assert len(children) >= 3  # two workers and a tracker of resources
    assert process.poll() is None


def test_a_worker_that_is_killed_is_one_message(sweep):
    process, _ = sweep
    workers(process)[0].kill()
    _, error = process.communicate(timeout=30)
    assert error.splitlines()[-1] == f"CompactHydraException: {WORKER_KILLED}"
    assert "Traceback" not in error
