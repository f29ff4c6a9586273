"""The processes of one run as ranks of a torch.distributed group: their store, start and failures."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore, Store, TCPStore

from ntkode.integrate import SolverFailure
from ntkode.training import Diverged

# While rank 0 measures, the other ranks wait in the next step.
LONGEST_WAIT = timedelta(days=1)
# Seconds in which all ranks must have started: the tasks of a job start on different nodes.
START = 300.0
# Seconds that a failing rank has to report why, and that a rank has to end.
GRACE = 10.0
# Failures that name their cause; any other may be a consequence of another rank's failure.
EXPLICIT = (ValueError, SolverFailure, Diverged)


class RankFailed(RuntimeError):
    """Another rank did not start, or ended without reporting a failure."""

    remedy = "see log.txt in the run's folder, and in a SLURM job the tasks' logs"


@dataclass(frozen=True)
class Place:
    """The position of one process among the ranks of a run.

    Attributes:
        rank: index of the process, from 0; rank 0 measures and writes the record.
        ranks: number of processes.
        node: index of the process's machine, from 0.
        local_rank: index of the process on its machine, from 0, and of the GPU that it uses.
        meeting: address of the ranks' store, `file://PATH` or `tcp://HOST:PORT`; rank 0 listens there.
    """

    rank: int
    ranks: int
    node: int
    local_rank: int
    meeting: str

    def store(self) -> Store:
        """The key-value store that all ranks share; ranks above 0 wait until rank 0 has made it."""
        scheme, _, address = self.meeting.partition("://")
        if scheme == "file":
            return FileStore(address, self.ranks)
        host, _, port = address.rpartition(":")
        return TCPStore(
            host, int(port), self.ranks, self.rank == 0, timeout=LONGEST_WAIT, wait_for_workers=False
        )

    def announce_ready(self, store: Store) -> None:
        """Enter into the store that this rank is about to join the group."""
        store.set(f"ready/{self.rank}", "")

    def report_failure(self, store: Store, failure: Exception) -> None:
        """Enter this rank's failure into the store.

        Raises:
            Exception: rank 0 has ended, or the failure cannot be pickled.
        """
        store.set(f"failure/{self.rank}", pickle.dumps(failure, protocol=0).decode("ascii"))


@contextmanager
def joined(place: Place, store: Store, accelerator: str) -> Iterator[None]:
    """Join the process group of torch.distributed during the `with` block; Lightning then uses it."""
    # With LOCAL_RANK set, Lightning starts no processes itself.
    os.environ |= {"LOCAL_RANK": str(place.local_rank), "NODE_RANK": str(place.node)}
    backend = "gloo" if accelerator == "cpu" else "nccl"
    if backend == "nccl":
        torch.cuda.set_device(place.local_rank)
    dist.init_process_group(
        backend, store=store, rank=place.rank, world_size=place.ranks, timeout=LONGEST_WAIT
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


class Others:
    """Ranks 1, 2, …, as seen from rank 0.

    Args:
        store: the ranks' store.
        ranks: number of ranks, rank 0 included.
        alive: returns whether all other processes may still be running.
    """

    def __init__(self, store: Store, ranks: int, alive: Callable[[], bool]) -> None:
        self._store, self._ranks, self._alive = store, range(1, ranks), alive

    def await_start(self) -> None:
        """Wait until all other ranks are about to join.

        Raises:
            RankFailed: a rank has ended, or takes longer than `START` seconds.
        """
        deadline = time.monotonic() + START
        while missing := [str(rank) for rank in self._ranks if not self._store.check([f"ready/{rank}"])]:
            if not self._alive() or time.monotonic() > deadline:
                raise RankFailed(f"rank {', '.join(missing)} did not start")
            time.sleep(0.05)

    def failure(self) -> Exception | None:
        """Another rank's failure that names its cause; None if none reports one within `GRACE` seconds."""
        deadline = time.monotonic() + GRACE
        while True:
            last = not self._alive() or time.monotonic() > deadline
            failed = [rank for rank in self._ranks if self._store.check([f"failure/{rank}"])]
            failures = [pickle.loads(self._store.get(f"failure/{rank}")) for rank in failed]
            explicit = [failure for failure in failures if isinstance(failure, EXPLICIT)]
            if explicit or last or len(failed) == len(self._ranks):
                return explicit[0] if explicit else None
            time.sleep(0.05)
