"""The server from which the processes of jobs are forked, with the slow imports already loaded."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing import forkserver, resource_tracker
from typing import Any

from ntkode.orphans import PARENT

# Signals that a terminal or a queue sends to all processes of a job; they must not end the server.
HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
PRELOADED = ["ntkode.execution.preloaded"]
_starting = threading.Lock()


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
        with _starting:
            os.environ[PARENT] = str(os.getpid())  # see `end_server_with_parent`
            try:
                forkserver.ensure_running()
            finally:
                del os.environ[PARENT]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return multiprocessing.get_context("forkserver")
