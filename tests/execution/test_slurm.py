"""What a process knows of its SLURM job, and how the tasks of one find and leave one another."""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ntkode.execution import run_job, slurm
from ntkode.execution.slurm import PortTaken, Task, at_work, find_at_work, leave_if_queued_again, this_task
from ntkode.results import RunRecord, run_id

JOB = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": str(os.getpid())}


@pytest.fixture
def job(monkeypatch):
    """Have this process be in a job, as SLURM and submitit tell it."""

    def call(**told):
        for name, value in (JOB | {f"SLURM_{name}": value for name, value in told.items()}).items():
            monkeypatch.setenv(name, value)
        return this_task()

    return call


def task_of_two(rank):
    return Task(os.getpid(), tasks=2, node=0, local_rank=rank, rank=rank, host="127.0.0.1", restarts=0)


def test_a_process_outside_of_jobs_has_no_task(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "4")  # a shell within an allocation
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    assert this_task() is None


def test_a_task_s_rank_goes_node_by_node(job):
    task = job(NTASKS="4", JOB_NUM_NODES="2", NODEID="1", LOCALID="1", JOB_NODELIST="gpu[03-04]")
    assert (task.rank, task.node, task.local_rank, task.tasks) == (3, 1, 1, 4)
    assert task.host == "gpu03"
    assert task.meeting == f"tcp://gpu03:{task.port + 1}"


def test_tasks_of_one_node_meet_within_it(job):
    task = job(NTASKS="2", LOCALID="1", JOB_NODELIST="gpu03", RESTART_COUNT="2")
    assert (task.rank, task.host, task.restarts) == (1, "127.0.0.1", 2)


def test_a_connection_to_task_0_breaks_when_it_leaves():
    with at_work(task_of_two(0), "run"):
        connection = find_at_work(task_of_two(1), "run")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    with connection:
        assert connection.recv(1) == b""


def test_task_0_stays_for_tasks_that_begin_later():
    with ThreadPoolExecutor() as pool, at_work(task_of_two(0), "run"):
        found = pool.submit(lambda: time.sleep(1.0) or find_at_work(task_of_two(1), "run"))
    with found.result() as connection:
        assert connection.recv(1) == b""


def test_the_last_task_is_told_the_run_before_its_connection_closes(monkeypatch):
    send = socket.socket.sendall
    monkeypatch.setattr(socket.socket, "sendall", lambda *arguments: time.sleep(0.5) or send(*arguments))
    monkeypatch.setattr(slurm, "START", 3.0)
    monkeypatch.setattr(slurm, "RETRY", 0.05)
    with ThreadPoolExecutor() as pool:
        with at_work(task_of_two(0), "run"):
            connected = pool.submit(find_at_work, task_of_two(1), "run")
        with connected.result() as connection:
            assert connection.recv(1) == b""


def test_a_task_that_is_at_no_work_or_another_is_not_followed(monkeypatch):
    monkeypatch.setattr(slurm, "START", 1.0)
    monkeypatch.setattr(slurm, "LATE", 0.0)
    assert find_at_work(task_of_two(1), "run") is None
    with at_work(task_of_two(0), "another"):
        assert find_at_work(task_of_two(1), "run") is None


def test_a_port_that_is_taken_is_the_run_s_error(job, composed, tmp_path):
    task = job(NTASKS="2")
    overrides = ("size=smoke", "dataset=digits", "trainer=ddp", "logger=none", f"results_dir={tmp_path}")
    config = composed(*overrides)
    with socket.create_server(("", task.port)):
        with pytest.raises(PortTaken), at_work(task, "run"):
            pass
        run_job(config, "job")
    status = RunRecord.open(tmp_path, run_id(config)).status
    assert status["status"] == "error"
    assert f"port {task.port}" in status["message"]
    assert "rerun=failed" in status["remedy"]


@pytest.mark.parametrize(
    ("state", "restarts", "leaves"),
    [("COMPLETING", 1, True), ("PENDING", 1, True), ("CANCELLED", 0, False), ("COMPLETING", 0, False)],
)
def test_a_job_leaves_without_a_result_where_it_is_queued_again(
    monkeypatch, tmp_path, state, restarts, leaves
):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        f"#!/bin/sh\necho JobId=$4 JobName=a b JobState={state} Restarts={restarts} BatchFlag=1\n"
    )
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    if leaves:
        with pytest.raises(SystemExit):
            leave_if_queued_again(task_of_two(0))
    else:
        leave_if_queued_again(task_of_two(0))


def test_a_job_of_which_the_queue_tells_nothing_has_its_result(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(Path(tmp_path)))
    leave_if_queued_again(task_of_two(0))
