"""Sweeps through a real SLURM and a real Ray on this machine give the numbers of the local launcher."""

import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration import slurm

from ntkode.results import RunRecord, SweepIndex

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "run.py"
SWEEP = ("-m", "activation=tanh,relu", "seed=0,1", "size=smoke", "dataset=digits", "width=w64")
CHEAP = ("metrics=cheap", "logger=none")


def need(plugin, extra):
    if importlib.util.find_spec(f"hydra_plugins.{plugin}") is None:
        pytest.skip(f"needs ntkode[{extra}], which is not installed")


def sweep(cwd, *overrides, environment=os.environ):
    """The rows of every job of the sweep, without their cost columns."""
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


def test_variables_of_another_launcher_change_nothing(local, tmp_path):
    variables = {"SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_JOB_ID": "1", "SUBMITIT_EXECUTOR": "slurm"}
    variables |= dict.fromkeys(("RANK", "LOCAL_RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK"), "3")
    variables |= dict.fromkeys(("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"), "8")
    assert sweep(tmp_path, environment=os.environ | variables) == local


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


def test_concurrent_ray_jobs_see_different_gpus(tmp_path):
    need("hydra_ray_launcher", "ray")
    study = ("study._target_=tests.studies.configs.Sees", "~study.require_metrics", "+study.seconds=3")
    gpus = (
        "+hydra.launcher.ray.init.num_gpus=2",
        "hydra.launcher.ray.remote.num_gpus=1",
    )  # declared to Ray, not present
    command = [sys.executable, str(SCRIPT), "-m", "seed=0,1,2,3,4,5", "size=smoke", "dataset=digits", *CHEAP]
    command += [*study, "hydra/launcher=ray_node", "+hydra.launcher.ray.init.num_cpus=2", *gpus, "sweep=s"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = SweepIndex(tmp_path / "results", "s").runs().values()
    rows = [row for run_id in runs for row in RunRecord.open(tmp_path / "results", run_id).history()]
    assert len(rows) == 6
    assert {row["gpus"] for row in rows} == {"0", "1"}
    for one, other in itertools.combinations(rows, 2):
        at_once = one["began"] < other["ended"] and other["began"] < one["ended"]
        assert not at_once or one["gpus"] != other["gpus"]


def test_a_search_in_which_every_job_fails_is_reported(tmp_path):
    need("hydra_optuna_sweeper", "optuna")
    search = ("hydra/sweeper=optuna_search", "hydra.sweeper.n_trials=3", "hydra/launcher=basic")
    overrides = ("-m", "model.sigma_w=interval(0.5,2)", "optimizer.lr=1e9", "size=smoke", "dataset=digits")
    command = [sys.executable, str(SCRIPT), *overrides, *CHEAP, *search]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout.count("diverged") >= 3
    assert "the search has no result: no job has a finite objective" in done.stdout


def test_search(tmp_path):
    need("hydra_optuna_sweeper", "optuna")
    runs = sweep(tmp_path, "hydra/sweeper=optuna_search", "hydra.sweeper.n_trials=4", "hydra/launcher=basic")
    assert 1 <= len(runs) <= 4  # the search may try a job twice
