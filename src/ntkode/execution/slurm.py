"""Jobs of `hydra/launcher=slurm`: the tasks of a job are the ranks of one run; pre-empted jobs are requeued.

submitit calls the job's function in every task. Task 0 is rank 0: it locks the run and writes the record. The
other tasks connect to task 0 and train along until the connection closes, which happens however task 0 ends.
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

# A job uses two ports: task 0 accepts the other tasks on the first; the ranks' store listens on the second.
FIRST_PORT, JOBS = 20_000, 5_000
# Seconds that tasks try to connect to task 0, that task 0 waits at its end for tasks that start late, and
# between two attempts.
START, LATE, RETRY = 300.0, 60.0, 0.5
# Seconds from SLURM's warning of a pre-emption to the pre-emption, at most, and between two queries.
WARNING, QUERY_INTERVAL = 600.0, 2.0

# Set by submitit in its jobs: "slurm" in those that SLURM runs.
EXECUTOR = "SUBMITIT_EXECUTOR"


@dataclass(frozen=True)
class Task:
    """One task of a SLURM job.

    Attributes:
        job: id of the job.
        tasks: number of tasks in the job.
        node: index of the task's node, from 0.
        local_rank: index of the task within its node, from 0.
        rank: index of the task within the job, counted node by node.
        host: address of the node of task 0.
        restarts: number of times the job has been requeued.
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
        """Port on which task 0 accepts connections of the other tasks."""
        return FIRST_PORT + 2 * (self.job % JOBS)

    @property
    def meeting(self) -> str:
        """Address of the ranks' store (see `group.Place`)."""
        return f"tcp://{self.host}:{self.port + 1}"


def leave_task() -> None:
    """Make `this_task` return None: this process was not started by `hydra/launcher=slurm`.

    It may run in a job that another program has sent by submitit, whose variables it then inherits.
    """
    os.environ.pop(EXECUTOR, None)


def this_task() -> Task | None:
    """The task of this process; None outside jobs that submitit has sent to SLURM."""
    # submitit's JobEnvironment lacks the restart count, and its rank (SLURM_PROCID) need not go node by node.
    if os.environ.get(EXECUTOR) != "slurm":
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
    """Another program already listens on the port through which the tasks of a job connect."""

    remedy = "the same command with rerun=failed: the new job uses other ports"


@contextmanager
def announce(task: Task | None, run: str) -> Iterator[None]:
    """On task 0: accept the other tasks' connections during the `with` block, and send them the run's id.

    The connections close when the block ends. Without other tasks nothing happens.

    Args:
        task: this process's task, of rank 0; None outside SLURM.
        run: id of the run that task 0 computes.

    Raises:
        PortTaken: another program listens on the job's port.
    """
    if task is None or task.tasks == 1:
        yield
        return
    followers: list[socket.socket] = []
    try:
        server = socket.create_server(("", task.port))
    except OSError as error:
        raise PortTaken(f"port {task.port} of SLURM job {task.job}: {error}") from error

    def accept() -> None:
        with suppress(OSError):  # raised when the server is shut down
            while True:
                follower, _ = server.accept()
                try:
                    follower.sendall(f"{run}\n".encode())
                except OSError:  # the task has already disconnected; it may connect again
                    follower.close()
                else:  # after sending: once all are in the list, connections may close
                    followers.append(follower)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
        deadline = time.monotonic() + LATE
        while len(followers) < task.tasks - 1 and time.monotonic() < deadline:
            time.sleep(RETRY)  # a task that starts late must not wait in vain for task 0
    finally:
        server.shutdown(socket.SHUT_RDWR)  # ends accept() in the thread
        for connection in (server, *followers):
            connection.close()


def connect_to_first_task(task: Task, run: str) -> socket.socket | None:
    """On other tasks: a connection to task 0 that closes when task 0 has finished `run`.

    Returns:
        The connection; None if task 0 does not announce `run` within `START` seconds.
    """
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        with suppress(OSError):  # task 0 has not started yet
            connection = socket.create_connection((task.host, task.port), timeout=START)
            with suppress(OSError), connection.makefile() as received:
                if received.readline().strip() == run:
                    connection.settimeout(None)
                    return connection
            connection.close()
        time.sleep(RETRY)
    return None


def exit_if_requeued(task: Task) -> None:
    """Exit without a result if the interrupted job is pre-empted: SLURM runs it again.

    SLURM sends SIGTERM to all processes of a pre-empted job, at once or up to `WARNING` seconds before it
    requeues the job. A cancelled job gets SIGTERM too, but is not requeued: it returns its result.

    Raises:
        SystemExit: the job has been requeued; submitit then expects no result.
    """
    deadline = time.monotonic() + WARNING
    while time.monotonic() < deadline:
        state, restarts = _queue_state(task.job)
        if restarts > task.restarts:
            raise SystemExit(f"SLURM has requeued job {task.job}")
        if state != "RUNNING":
            return
        time.sleep(QUERY_INTERVAL)


def _queue_state(job: int) -> tuple[str, int]:
    """State and number of restarts of a job by `scontrol`; ("UNKNOWN", 0) if it fails."""
    command = ["scontrol", "show", "job", "--oneliner", str(job)]
    try:
        description = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return "UNKNOWN", 0
    fields = dict(field.partition("=")[::2] for field in description.split())
    return fields.get("JobState", "UNKNOWN"), int(fields.get("Restarts", 0))
