"""Tiny studies that end in every way; a job's process finds them by `_target_: tests.studies.cells.…`."""

import os
import signal
import time

import torch

from ntkode.data.checks import DataError
from ntkode.integrate import NonFiniteState
from ntkode.metrics import Metric
from ntkode.ranks import rank, total
from ntkode.training import Diverged

FAILURES = {
    "diverged": lambda: Diverged("the loss is not finite at step 3"),
    "solver": lambda: NonFiniteState("rk4(10 steps): non-finite state at t=1"),
    "data": lambda: DataError("dataset.n_train=0 is no number", "dataset.n_train=N"),
    "value": lambda: ValueError("model.width=0 must be an integer ≥ 1"),
    "key": lambda: KeyError("nosuch"),
    "exit": lambda: SystemExit(1),
}


class Writes:
    """Appends rows that tell its process, and prints."""

    def __init__(self, rows=2):
        self.rows = rows

    def run(self, config, record, tracker):
        print(f"attempt of process {os.getpid()}")
        for step in range(self.rows):
            record.append({"step": step, "pid": os.getpid()})


class Raises:
    """Fails with one of `FAILURES` after its first row."""

    def __init__(self, failure):
        self.failure = failure

    def run(self, config, record, tracker):
        record.append({"step": 0, "pid": os.getpid()})
        raise FAILURES[self.failure]()


class Dies:
    """Ends its process by a signal, or with an exit code."""

    def __init__(self, signal=None, code=None):
        self.signal, self.code = signal, code

    def run(self, config, record, tracker):
        if self.signal is None:
            os._exit(self.code)
        os.kill(os.getpid(), self.signal)


class Sleeps:
    """Appends a row, and sleeps for a minute."""

    def run(self, config, record, tracker):
        record.append({"step": 0, "pid": os.getpid()})
        time.sleep(60)


class Tracker:
    """A tracker that notes how it was closed, after the record's end was written."""

    loggers = ()

    def __init__(self, record, config, job):
        self.record = record

    def close(self, failed):
        ended = self.record.status["status"]
        (self.record.directory / "closed.txt").write_text(f"{ended} failed={failed}")


class BrokenTracker(Tracker):
    """A tracker whose upload fails."""

    def close(self, failed):
        raise ConnectionError("the server is gone")


class NeverMeasured(Metric):
    """A metric that applies, and never delivers."""

    def names(self, module):
        return {"never/measured"}

    def measure(self, module):
        return {}


class FailsOnRank:
    """Sums over the ranks, one of which fails or is killed before."""

    distributed = True

    def __init__(self, failing, killed=False):
        self.failing, self.killed = failing, killed

    def run(self, config, record, tracker):
        if rank() == self.failing:
            if self.killed:
                os.kill(os.getpid(), signal.SIGKILL)
            raise NonFiniteState(f"non-finite state on rank {rank()}")
        total(torch.ones(()))
