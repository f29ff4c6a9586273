"""The task of a process in a SLURM job, the connections between tasks, and requeued jobs."""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ntkode.cli import run
from ntkode.execution import run_job, slurm
from ntkode.execution.slurm import (
    PortTaken,
    Task,
    announce,
    connect_to_first_task,
    exit_if_requeued,
    leave_task,
    this_task,
)
from ntkode.results import RunRecord, Status, run_id

JOB = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": str(os.getpid())}


@pytest.fixture
def job(monkeypatch):
    """Set the variables of SLURM and submitit for this process, and return its task."""

    def call(**variables):
        for name, value in (JOB | {f"SLURM_{name}": value for name, value in variables.items()}).items():
            monkeypatch.setenv(name, value)
        return this_task()

    return call


def task_of_two(rank):
    return Task(os.getpid(), tasks=2, node=0, local_rank=rank, rank=rank, host="127.0.0.1", restarts=0)


def test_a_process_outside_of_jobs_has_no_task(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "4")  # a shell within an allocation
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    assert this_task() is None


def test_a_process_leaves_a_task_that_another_program_has_sent(job):
    assert job(NTASKS="2", LOCALID="1").rank == 1
    leave_task()
    assert this_task() is None


@pytest.mark.parametrize(("launcher", "remains"), [("basic", False), ("slurm", True)])
def test_only_jobs_of_the_slurm_launcher_are_tasks(job, monkeypatch, launcher, remains):
    job(NTASKS="1")
    tasks = []
    monkeypatch.setattr(run, "run_job", lambda *arguments: tasks.append(this_task()) or Status.ERROR)
    targets = {
        "basic": "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "slurm": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    }
    about = {
        "runtime": {"choices": {}},
        "launcher": {"_target_": targets[launcher]},
        "overrides": {"task": []},
        "job": {"num": 0},
        "sweeper": {},
    }
    monkeypatch.setattr(run.HydraConfig, "get", staticmethod(lambda: OmegaConf.create(about)))
    run.run_config(OmegaConf.create({"seed": 0}))
    assert [task is not None for task in tasks] == [remains]


def test_a_task_s_rank_goes_node_by_node(job):
    task = job(NTASKS="4", JOB_NUM_NODES="2", NODEID="1", LOCALID="1", JOB_NODELIST="gpu[03-04]")
    assert (task.rank, task.node, task.local_rank, task.tasks) == (3, 1, 1, 4)
    assert task.host == "gpu03"
    assert task.meeting == f"tcp://gpu03:{task.port + 1}"


def test_tasks_of_one_node_meet_within_it(job):
    task = job(NTASKS="2", LOCALID="1", JOB_NODELIST="gpu03", RESTART_COUNT="2")
    assert (task.rank, task.host, task.restarts) == (1, "127.0.0.1", 2)


def test_a_connection_to_task_0_closes_when_it_ends():
    with announce(task_of_two(0), "run"):
        connection = connect_to_first_task(task_of_two(1), "run")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    with connection:
        assert connection.recv(1) == b""


def test_task_0_waits_for_tasks_that_start_late():
    with ThreadPoolExecutor() as pool, announce(task_of_two(0), "run"):
        connected = pool.submit(lambda: time.sleep(1.0) or connect_to_first_task(task_of_two(1), "run"))
    with connected.result() as connection:
        assert connection.recv(1) == b""


def test_the_last_task_receives_the_run_before_its_connection_closes(monkeypatch):
    send = socket.socket.sendall
    monkeypatch.setattr(socket.socket, "sendall", lambda *arguments: time.sleep(0.5) or send(*arguments))
    monkeypatch.setattr(slurm, "START", 60.0)
    monkeypatch.setattr(slurm, "RETRY", 0.05)
    with ThreadPoolExecutor() as pool:
        with announce(task_of_two(0), "run"):
            connected = pool.submit(connect_to_first_task, task_of_two(1), "run")
        with connected.result() as connection:
            assert connection.recv(1) == b""


def test_only_a_task_0_that_computes_the_run_is_followed(monkeypatch):
    monkeypatch.setattr(slurm, "START", 1.0)
    monkeypatch.setattr(slurm, "LATE", 0.0)
    assert connect_to_first_task(task_of_two(1), "run") is None
    with announce(task_of_two(0), "another"):
        assert connect_to_first_task(task_of_two(1), "run") is None


def test_a_port_that_is_taken_is_the_run_s_error(job, composed, tmp_path):
    task = job(NTASKS="2")
    overrides = ("size=smoke", "dataset=digits", "trainer=ddp", "logger=none", f"results_dir={tmp_path}")
    config = composed(*overrides)
    with socket.create_server(("", task.port)):
        with pytest.raises(PortTaken), announce(task, "run"):
            pass
        run_job(config, "job")
    status = RunRecord.open(tmp_path, run_id(config)).status
    assert status["status"] == "error"
    assert f"port {task.port}" in status["message"]
    assert "rerun=failed" in status["remedy"]


@pytest.mark.parametrize(
    ("state", "restarts", "exits"),
    [("COMPLETING", 1, True), ("PENDING", 1, True), ("CANCELLED", 0, False), ("COMPLETING", 0, False)],
)
def test_a_requeued_job_exits_without_a_result(monkeypatch, tmp_path, state, restarts, exits):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        f"#!/bin/sh\necho JobId=$4 JobName=a b JobState={state} Restarts={restarts} BatchFlag=1\n"
    )
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    if exits:
        with pytest.raises(SystemExit):
            exit_if_requeued(task_of_two(0))
    else:
        exit_if_requeued(task_of_two(0))


def test_a_job_unknown_to_the_queue_returns_its_result(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(Path(tmp_path)))
    exit_if_requeued(task_of_two(0))
