"""The server from which the processes of jobs are forked, with the slow imports already loaded."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from typing import Any

import psutil

# Signals that a terminal or a queue sends to all processes of a job; they must not end the server.
HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
PRELOADED = ["ntkode.execution.preloaded"]


def job_context() -> Any:
    """The multiprocessing context for the processes of jobs; each starts with `HELD_BACK` blocked."""
    # In a joblib worker the default context is loky's, which the fork server does not know by name.
    multiprocessing.set_start_method("forkserver", force=True)
    multiprocessing.set_forkserver_preload(PRELOADED)
    # The server inherits the blocked signals, so that none ends it during its imports. The tracker starts
    # first, because starting it unblocks some of them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return multiprocessing.get_context("forkserver")


def end_with_parent(by: signal.Signals = signal.SIGINT) -> None:
    """Wait until the parent process has ended, then send the signal `by` to this process."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        # A process that has ended remains a zombie until it is reaped.
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(parent.pid)
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(1.0)
        os.kill(os.getpid(), by)
