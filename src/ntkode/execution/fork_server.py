"""The server that cells' processes are forked from, with the heavy imports loaded."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from typing import Any

import psutil

# Signals that a terminal or a queue sends to all processes of a job at once: the server must outlive them.
HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
PRELOADED = ["ntkode.execution.preloaded"]


def cell_context() -> Any:
    """The multiprocessing context of cells; their processes begin with `HELD_BACK` blocked."""
    # A joblib worker's default context is loky's, whose name the fork server does not know.
    multiprocessing.set_start_method("forkserver", force=True)
    multiprocessing.set_forkserver_preload(PRELOADED)
    # The server inherits that signals are held back: one that comes while it imports must not end it. The
    # tracker first, because starting that one lets some of them through again.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return multiprocessing.get_context("forkserver")


def end_with_parent(by: signal.Signals = signal.SIGINT) -> None:
    """End this process by a signal once the one that started it is gone: nobody waits for it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        # Where nobody reaps it, a process that is gone stays as a zombie.
        with suppress(psutil.NoSuchProcess):
            starter = psutil.Process(parent.pid)
            while starter.is_running() and starter.status() != psutil.STATUS_ZOMBIE:
                time.sleep(1.0)
        os.kill(os.getpid(), by)
