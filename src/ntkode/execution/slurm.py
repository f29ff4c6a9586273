"""Jobs of `hydra/launcher=slurm`: their tasks as ranks of one cell, and their way back into the queue.

submitit calls the job's function in every task. Task 0 owns the run, and is rank 0; the others follow it for
as long as it is at work, which a connection tells them: it breaks however task 0 ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

# Ports of a job: one on which task 0 tells that it is at work, the next one for the ranks' store.
FIRST_PORT, JOBS = 20_000, 5_000
# Seconds in which task 0 must be found at work, for which it stays for tasks that begin later, and between
# two looks.
START, LATE, RETRY = 300.0, 60.0, 0.5
# Seconds for which a job that is to be pre-empted may have been warned, and between two looks at the queue.
WARNING, LOOK = 600.0, 2.0


@dataclass(frozen=True)
class Task:
    """One task of a job.

    Attributes:
        job: the job's id.
        tasks: of the job.
        node: this task's, counted from 0.
        local_rank: of the task, among those of its node.
        rank: of the task, node by node.
        host: the node of task 0, as the others reach it.
        restarts: how often the job went back into the queue.
    """

    job: int
    tasks: int
    node: int
    local_rank: int
    rank: int
    host: str
    restarts: int

    @property
    def port(self) -> int:
        """Where task 0 tells that it is at work."""
        return FIRST_PORT + 2 * (self.job % JOBS)

    @property
    def meeting(self) -> str:
        """Where the ranks meet (see `group.Place`)."""
        return f"tcp://{self.host}:{self.port + 1}"


def this_task() -> Task | None:
    """The task that this process belongs to; None outside of jobs that submitit has sent to SLURM."""
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return None
    tasks, nodes, node, local_rank = (
        int(os.environ.get(f"SLURM_{name}") or default)
        for name, default in (("NTASKS", 1), ("JOB_NUM_NODES", 1), ("NODEID", 0), ("LOCALID", 0))
    )
    return Task(
        job=int(os.environ["SLURM_JOB_ID"]),
        tasks=tasks,
        node=node,
        local_rank=local_rank,
        rank=node * (tasks // nodes) + local_rank,
        host="127.0.0.1" if nodes == 1 else _first_host(os.environ["SLURM_JOB_NODELIST"]),
        restarts=int(os.environ.get("SLURM_RESTART_COUNT") or 0),
    )


def _first_host(nodes: str) -> str:
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    return SLURMEnvironment.resolve_root_node_address(nodes)


class PortTaken(RuntimeError):
    """Another program listens where the tasks of a job are to find one another."""

    remedy = "the same command with rerun=failed: another job has other ports"


@contextmanager
def at_work(task: Task | None, run: str) -> Iterator[None]:
    """Task 0: tell the others, if any, for the time of the `with` block that it is at work on `run`.

    Raises:
        PortTaken: see there.
    """
    if task is None or task.tasks == 1:
        yield
        return
    followers: list[socket.socket] = []
    try:
        server = socket.create_server(("", task.port))
    except OSError as error:
        raise PortTaken(f"port {task.port} of SLURM job {task.job}: {error}") from error

    def welcome() -> None:
        with suppress(OSError):  # the end
            while True:
                follower, _ = server.accept()
                with suppress(OSError):  # it has left already
                    follower.sendall(f"{run}\n".encode())
                followers.append(follower)  # last: once all are here, the connections close

    threading.Thread(target=welcome, daemon=True).start()
    try:
        yield
        deadline = time.monotonic() + LATE
        while len(followers) < task.tasks - 1 and time.monotonic() < deadline:
            time.sleep(RETRY)  # one that begins later would look for a task 0 that is gone
    finally:
        server.shutdown(socket.SHUT_RDWR)  # wakes the thread
        for one in (server, *followers):
            one.close()


def find_at_work(task: Task, run: str) -> socket.socket | None:
    """Another task: a connection that breaks when task 0 ends its work on `run`; None where it is at none."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        with suppress(OSError):  # task 0 starts later
            connection = socket.create_connection((task.host, task.port), timeout=START)
            with suppress(OSError), connection.makefile() as told:
                if told.readline().strip() == run:
                    connection.settimeout(None)
                    return connection
            connection.close()
        time.sleep(RETRY)
    return None


def leave_if_queued_again(task: Task) -> None:
    """End a job whose cell was interrupted, if SLURM pre-empts it: it runs again, and has no result yet.

    SLURM sends SIGTERM to all processes of a job that it takes back, at once or some time before; the same
    to those of a job that is cancelled, which then does have its result.

    Raises:
        SystemExit: the job is in the queue again; to submitit this is no result.
    """
    deadline = time.monotonic() + WARNING
    while time.monotonic() < deadline:
        state, restarts = _standing(task.job)
        if restarts > task.restarts:
            raise SystemExit("SLURM takes the job back into the queue")
        if state != "RUNNING":
            return
        time.sleep(LOOK)


def _standing(job: int) -> tuple[str, int]:
    """State and restarts of a job as the queue tells them; UNKNOWN where it tells nothing."""
    command = ["scontrol", "show", "job", "--oneliner", str(job)]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return "UNKNOWN", 0
    fields = dict(field.partition("=")[::2] for field in told.split())
    return fields.get("JobState", "UNKNOWN"), int(fields.get("Restarts", 0))
