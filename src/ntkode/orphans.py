"""Processes that end with the process that started them, whatever ends that one, SIGKILL included.

The processes of a sweep form a chain: the command, its workers, their fork servers, the jobs, the ranks of a
job. If one is killed, all after it end within two seconds: a worker within `POLL`, a job `GRACE` after the
interrupt by which it stores a checkpoint. On Linux the kernel ends a job even if its own thread cannot,
because the fork server kills itself after `SERVER_GRACE`.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time

PARENT = "NTKODE_PARENT"
"""Environment variable: the id of the process with which a process that we start ends."""

# Seconds between two looks at the parent.
POLL = 0.1
# Seconds that a job has to store a checkpoint and its status once its parent has ended.
GRACE = 0.6
# Seconds until a fork server whose parent has ended takes its jobs along; more than `GRACE`.
SERVER_GRACE = 0.9
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def kill_with_parent(parent: int) -> None:
    """Kill this process as soon as `parent` is not, or no longer, its parent; returns at once."""
    _start(_kill_without, parent)


def kill_with_parent_in_environment() -> None:
    """`kill_with_parent`, if the environment variable `PARENT` names one; the variable is deleted."""
    parent = os.environ.pop(PARENT, None)
    if parent is not None:
        kill_with_parent(int(parent))


def interrupt_with_parent(by: signal.Signals = signal.SIGINT) -> None:
    """End this process of `multiprocessing` with its parent; returns at once.

    Args:
        by: signal that the process sends itself once its parent has ended; SIGKILL follows after `GRACE`.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a forked process has its fork server's handler
    _signal_at_parents_death(signal.SIGKILL)
    _start(_interrupt_without_parent, by)


def has_lost_parent() -> bool:
    """Whether the parent of this process of `multiprocessing` has ended."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def end_server_with_parent() -> None:
    """End this fork server `SERVER_GRACE` after the parent that the environment variable `PARENT` names.

    Elsewhere than on Linux, a fork server ends with the last process that uses it. A thread would not do: it
    must not run in a process that forks. The kernel sends the signal also if only the thread that started
    this process has ended, hence the second look at the parent.
    """
    parent = os.environ.pop(PARENT, None)
    if parent is None or sys.platform != "linux":
        return

    def end(*_: object) -> None:
        if os.getppid() != int(parent):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process
            signal.setitimer(signal.ITIMER_REAL, SERVER_GRACE)

    signal.signal(signal.SIGALRM, end)
    _signal_at_parents_death(signal.SIGALRM)
    if os.getppid() != int(parent):  # it has ended before, and there is no job yet
        os.kill(os.getpid(), signal.SIGKILL)


def _signal_at_parents_death(by: signal.Signals) -> None:
    """Let the kernel send `by` to this process when its parent ends, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(by))


def _start(target: object, argument: object) -> None:
    threading.Thread(target=target, args=(argument,), daemon=True).start()  # type: ignore[arg-type]


def _kill_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    os.kill(os.getpid(), signal.SIGKILL)


def _interrupt_without_parent(by: signal.Signals) -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()  # a pipe whose other end the parent holds
    os.kill(os.getpid(), by)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
