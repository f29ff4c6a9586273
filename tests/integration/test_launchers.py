"""Sweeps through a real SLURM and a real Ray on this machine give the numbers of the local launcher."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration import slurm

from ntkode.results import RunRecord, SweepIndex

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
SWEEP = ("-m", "activation=tanh,relu", "seed=0,1", "size=smoke", "dataset=digits", "width=w64")
CHEAP = ("metrics=cheap", "logger=none")


def need(plugin, extra):
    if importlib.util.find_spec(f"hydra_plugins.{plugin}") is None:
        pytest.skip(f"needs ntkode[{extra}], which is not installed")


def sweep(cwd, *overrides, environment=os.environ):
    """The rows of every job of the sweep, without what they cost."""
    command = [sys.executable, str(SCRIPT), *SWEEP, *CHEAP, *overrides]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = cwd / "results"
    runs = SweepIndex(results, SweepIndex.newest(results)).runs()
    return {
        job: [
            {name: value for name, value in row.items() if not name.startswith("cost/")}
            for row in RunRecord.open(results, run_id).history()
        ]
        for job, run_id in runs.items()
    }


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return sweep(tmp_path_factory.mktemp("local"))


def test_slurm(local, tmp_path):
    need("hydra_submitit_launcher", "slurm")
    absent = slurm.missing()
    if absent:
        pytest.skip(absent)
    (tmp_path / "cwd").mkdir()
    with slurm.cluster(tmp_path / "slurm") as environment:
        assert sweep(tmp_path / "cwd", "hydra/launcher=slurm", environment=environment) == local


def test_ray(local, tmp_path):
    need("hydra_ray_launcher", "ray")
    assert sweep(tmp_path, "hydra/launcher=ray_node") == local


def test_search(tmp_path):
    need("hydra_optuna_sweeper", "optuna")
    found = sweep(tmp_path, "hydra/sweeper=optuna_search", "hydra.sweeper.n_trials=4", "hydra/launcher=basic")
    assert 1 <= len(found) <= 4  # of the same four jobs, some twice
