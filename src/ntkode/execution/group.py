"""The processes of one cell as ranks of a torch.distributed group: where they meet, and what they tell."""

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

# Rank 0 measures while the others wait in the next step.
LONGEST_WAIT = timedelta(days=1)
# Seconds in which all ranks must have started: tasks of a job begin on nodes of their own.
START = 300.0
# Seconds in which a rank that fails tells why, and in which one ends when it is told to.
GRACE = 10.0
# Failures that say by themselves what was wrong; others may be the echo of another rank's.
TELLING = (ValueError, SolverFailure, Diverged)


class RankFailed(RuntimeError):
    """A process that trains along did not start, or ended without a word."""

    remedy = "see log.txt in the run's folder, and the tasks' logs of a SLURM job"


@dataclass(frozen=True)
class Place:
    """One process's place among those of a cell.

    Attributes:
        rank: 0 measures, and writes the record.
        ranks: how many there are.
        node: of the machines that they run on, counted from 0.
        local_rank: among the ranks of its node; its GPU.
        meeting: where they find one another, `file://PATH` or `tcp://HOST:PORT`, at which rank 0 listens.
    """

    rank: int
    ranks: int
    node: int
    local_rank: int
    meeting: str

    def store(self) -> Store:
        """The store that all ranks share; others than rank 0 wait for it."""
        scheme, _, address = self.meeting.partition("://")
        if scheme == "file":
            return FileStore(address, self.ranks)
        host, _, port = address.rpartition(":")
        return TCPStore(
            host, int(port), self.ranks, self.rank == 0, timeout=LONGEST_WAIT, wait_for_workers=False
        )

    def tell_ready(self, store: Store) -> None:
        """Say that this rank is about to join."""
        store.set(f"ready/{self.rank}", "")

    def tell_failure(self, store: Store, failure: Exception) -> None:
        """Say what this rank fails of.

        Raises:
            Exception: rank 0 is gone, or the failure cannot be pickled.
        """
        store.set(f"failure/{self.rank}", pickle.dumps(failure, protocol=0).decode("ascii"))


@contextmanager
def joined(place: Place, store: Store, accelerator: str) -> Iterator[None]:
    """This process as one of the ranks, for torch.distributed and for Lightning."""
    # Lightning starts no processes where it finds the first.
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
    """Ranks 1, 2, … as rank 0 knows them.

    Args:
        store: the ranks' store.
        ranks: how many there are.
        alive: whether all of their processes may still be there.
    """

    def __init__(self, store: Store, ranks: int, alive: Callable[[], bool]) -> None:
        self._store, self._ranks, self._alive = store, range(1, ranks), alive

    def await_start(self) -> None:
        """Wait until all are about to join.

        Raises:
            RankFailed: one has ended, or takes longer than `START`.
        """
        deadline = time.monotonic() + START
        while missing := [str(rank) for rank in self._ranks if not self._store.check([f"ready/{rank}"])]:
            if not self._alive() or time.monotonic() > deadline:
                raise RankFailed(f"rank {', '.join(missing)} did not start")
            time.sleep(0.05)

    def failure(self) -> Exception | None:
        """What another rank failed of, if one tells soon."""
        deadline = time.monotonic() + GRACE
        while True:
            last = not self._alive() or time.monotonic() > deadline
            told = [rank for rank in self._ranks if self._store.check([f"failure/{rank}"])]
            failures = [pickle.loads(self._store.get(f"failure/{rank}")) for rank in told]
            telling = [failure for failure in failures if isinstance(failure, TELLING)]
            if telling or last or len(told) == len(self._ranks):
                return telling[0] if telling else None
            time.sleep(0.05)
