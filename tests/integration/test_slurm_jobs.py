"""Jobs of a real SLURM on this machine: DDP across tasks; jobs pre-empted, warned or cancelled."""

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration import slurm
from tests.results.stored import numbers
from tests.tracking.wandb_offline import read_offline_run

from ntkode.results import RunRecord, SweepIndex

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
RUN = ("-m", "activation=tanh", "size=smoke", "dataset=digits", "width=w64", "dtype=float64", "sweep=s")
LONG = ("steps=400", "optimizer.lr=0.01", "metrics=standard", "logger=none", "checkpoint.every_seconds=0.2")
# Two partial sums in float64 instead of one, over 25 steps.
ROUNDING = 1e-10


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment of a cluster with two cores."""
    if importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher") is None:
        pytest.skip("needs ntkode[slurm], which is not installed")
    absent = slurm.missing()
    if absent:
        pytest.skip(absent)
    with slurm.cluster(tmp_path_factory.mktemp("cluster") / "slurm") as environment:
        yield environment


def start(cwd, *overrides, environment=os.environ):
    command = [sys.executable, str(SCRIPT), *RUN, *overrides]
    cwd.mkdir(exist_ok=True)
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(cwd, *overrides, environment=os.environ):
    """Run to the end; exit code, output, the run's record."""
    process = start(cwd, *overrides, environment=environment)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output, record_in(cwd)


def record_in(cwd):
    [run_id] = SweepIndex(cwd / "results", "s").runs().values()
    return RunRecord.open(cwd / "results", run_id)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A function that returns the numbers of a long local run without checkpoints."""
    known = {}

    def call(trainer):
        if trainer not in known:
            cwd = tmp_path_factory.mktemp("undisturbed")
            overrides = [*LONG, "checkpoint.every_seconds=null", "hydra/launcher=basic", trainer]
            known[trainer] = numbers(run(cwd, *overrides)[2])
        return known[trainer]

    return call


def output_of(cluster, *command):
    return subprocess.run(command, env=cluster, capture_output=True, text=True, check=True).stdout.strip()


def eventually(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def started(cwd, cluster, trainer):
    """The command's process and SLURM job id of a long run, after some training steps."""
    process = start(cwd, *LONG, "hydra/launcher=slurm", trainer, environment=cluster)
    eventually(
        lambda: len("".join(p.read_text() for p in cwd.glob("results/*/history.jsonl")).split("\n")) > 30
    )
    return process, output_of(cluster, "squeue", "--noheader", "--format=%i", "--partition=test")


# ------------------------------------------------------------------ DDP across tasks


def test_two_tasks_are_the_ranks_of_one_run(cluster, tmp_path):
    metrics = "metrics=standard"
    one = run(tmp_path / "one", metrics, "logger=none", "hydra/launcher=basic")[2]
    slurm_ddp = ("hydra/launcher=slurm", "trainer=ddp")
    code, output, two = run(tmp_path / "two", metrics, *slurm_ddp, environment=cluster)
    assert code == 0, output
    for row, expected in zip(two.history(), one.history(), strict=True):
        assert set(row) == set(expected)
        for name in ("loss/train", "loss/test", "ntk/lambda_min", "ntk/lambda_max"):
            assert name not in row or abs(row[name] / expected[name] - 1) < ROUNDING
    # The ranks were the SLURM tasks, not processes started by the run.
    logs = [path.read_text() for path in (tmp_path / "two").glob("results/sweeps/s/.submitit/*/*.out")]
    assert sorted(re.search(r"global_rank=(\d)\(2\)", log)[1] for log in logs if "rank" in log) == ["0", "1"]
    [path] = two.directory.glob("wandb/offline-run-*/*.wandb")
    tracked = read_offline_run(path)
    assert tracked.exit_code == 0
    assert len([row for row in tracked.history if "loss/train" in row]) == 26
    # Again: the run is stored, and the other task exits.
    code, output, _ = run(tmp_path / "two", metrics, *slurm_ddp, environment=cluster)
    assert code == 0, output
    assert "resumed" not in two.provenance()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (("trainer=ddp", "n_train=47"), "n_train=47 samples per step cannot be split evenly"),
        (("hydra.launcher.tasks_per_node=2",), "the SLURM job has 2 tasks"),
    ],
)
def test_what_cannot_be_split_ends_all_tasks(cluster, tmp_path, overrides, named):
    launcher = ("metrics=none", "logger=none", "hydra/launcher=slurm")
    code, output, record = run(tmp_path, *launcher, *overrides, environment=cluster)
    assert code == 1
    assert "Traceback" not in output
    assert record.status["status"] == "error"
    assert named in record.status["message"]
    eventually(lambda: output_of(cluster, "squeue", "--noheader") == "")


# ------------------------------------------------------------------ jobs that do not end by themselves


@pytest.mark.parametrize(
    ("trainer", "by"), [("trainer=cpu", "urgent"), ("trainer=ddp", "urgent"), ("trainer=cpu", "warning")]
)
def test_a_preempted_job_resumes(cluster, tmp_path, undisturbed, trainer, by):
    expected = undisturbed(trainer)
    process, job = started(tmp_path, cluster, trainer)
    if by == "urgent":  # another job takes its cores
        output_of(
            cluster, "sbatch", "--partition=urgent", "--ntasks=2", "--output=/dev/null", "--wrap=sleep 1"
        )
    else:  # its time is nearly over
        output_of(cluster, "scancel", "--signal=USR2", job)
    eventually(lambda: "JobState=PENDING" in output_of(cluster, "scontrol", "show", "job", job))
    assert process.poll() is None  # waits for the job
    output_of(cluster, "scontrol", "update", f"jobid={job}", "StartTime=now")  # else SLURM waits two minutes
    output, _ = process.communicate(timeout=600)
    record = record_in(tmp_path)
    assert process.returncode == 0, output
    assert record.status["status"] == "done"
    [resumed] = record.provenance()["resumed"]
    assert int(resumed["checkpoint"].removeprefix("step-").removesuffix(".ckpt")) > 0
    assert numbers(record) == expected


def test_a_cancelled_job_is_recorded_and_the_same_command_resumes(cluster, tmp_path, undisturbed):
    process, job = started(tmp_path, cluster, "trainer=cpu")
    output_of(cluster, "scancel", job)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "Traceback" not in output
    assert record_in(tmp_path).status["status"] == "interrupted"
    code, output, record = run(tmp_path, *LONG, "hydra/launcher=slurm", "trainer=cpu", environment=cluster)
    assert code == 0, output
    assert len(record.provenance()["resumed"]) == 1
    assert numbers(record) == undisturbed("trainer=cpu")
