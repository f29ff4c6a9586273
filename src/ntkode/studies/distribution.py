"""One cell by several processes: the samples of every step are split over them (DDP).

The cell's own process is rank 0: it measures and writes the record, as in a cell of one process. It starts
the others, which train along and share the work of kernels, and ends them. Lightning's launchers start the
whole program again, the sweep included, or leave the parent without what its callbacks measured.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from threadpoolctl import threadpool_limits

from ntkode.data import DataModule
from ntkode.data.checks import whole_number
from ntkode.integrate import Solver, SolverFailure
from ntkode.models import ODEModel
from ntkode.ranks import ranks
from ntkode.results import RunRecord
from ntkode.studies.base import Config, Study, build
from ntkode.tracking import NoTracker, Tracker
from ntkode.training import Diverged

# Rank 0 measures while the others wait in the next step.
LONGEST_WAIT = timedelta(days=1)
# Seconds in which a rank that fails tells why, and in which one ends when it is told to.
GRACE = 10.0
# Failures that say by themselves what was wrong; others may be the echo of another rank's.
TELLING = (ValueError, SolverFailure, Diverged)
# Methods whose steps depend on no other sample; those that meet a tolerance meet it for the whole batch.
UNCOUPLED = ("euler", "midpoint", "rk4")


class RankFailed(RuntimeError):
    """A process that trains along ended without a word."""

    remedy = "see log.txt in the run's folder"


def run_study(config: Config, record: RunRecord, tracker: Tracker) -> None:
    """Compute the cell of `config`, by `trainer.devices` processes with trainer=ddp.

    Raises:
        Exception: what `Study.run` raises on any rank.
        ValueError: several devices without trainer=ddp, or a study that runs in one process.
    """
    study: Study = build(config["study"])
    processes = _processes(config)
    if processes == 1:
        study.run(config, record, tracker)
        return
    if not getattr(study, "distributed", False):
        raise ValueError(f"study={config['choices']['study']} runs in one process: take trainer=cpu")
    with tempfile.TemporaryDirectory() as folder, _Followers(config, processes, record, folder) as followers:
        followers.await_start()
        try:
            with _group(config, 0, processes, folder):
                study.run(config, record, tracker)
        except TELLING:
            raise
        except Exception as failure:
            raise followers.failure() or failure from failure


def check_split(data: DataModule, model: ODEModel) -> None:
    """Refuse a cell that several ranks would not train as one process does.

    Raises:
        ValueError: the samples of a step do not divide among the ranks, or a solver couples them.
    """
    if ranks() == 1:
        return
    key = "n_train" if data.batch_size is None else "optimizer.batch_size"
    samples = data.batch_size or data.n_train
    if samples % ranks():
        fitting = max(1, samples // ranks()) * ranks()
        raise ValueError(
            f"{key}={samples} samples a step do not divide among trainer.devices={ranks()}: {key}={fitting}"
        )
    solvers = {"solver": model.solver, "solver@gradient.backward": getattr(model.gradient, "backward", None)}
    for name, solver in solvers.items():
        if isinstance(solver, Solver) and solver.method not in UNCOUPLED:
            raise ValueError(
                f"{name}={solver.method} couples the samples of a step, which trainer=ddp splits: "
                f"take {name}=rk4, or trainer=cpu"
            )


def _processes(config: Config) -> int:
    trainer = config.get("trainer")
    if not trainer:
        return 1
    devices = whole_number("trainer.devices", trainer["devices"], least=1)
    if devices > 1 and not trainer.get("strategy"):
        raise ValueError(f"trainer.devices={devices} takes trainer=ddp; one process uses one device")
    return devices


class _Followers:
    """The processes of ranks 1, 2, …, from `with` to its end."""

    def __init__(self, config: Config, processes: int, record: RunRecord, folder: str) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA, and a process group, outlive no fork
        self._processes: list[BaseProcess] = []
        self._connections: list[Connection] = []
        for rank in range(1, processes):
            ours, theirs = context.Pipe(duplex=False)
            arguments = (dict(config), rank, processes, record.directory, folder, theirs)
            self._processes.append(context.Process(target=_follow, args=arguments, daemon=True))
            self._connections.append(ours)
            self._processes[-1].start()
            theirs.close()

    def __enter__(self) -> _Followers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for process in self._processes:
            if kind is None:
                process.join(GRACE)
            process.kill()  # nothing of theirs is kept
            process.join()

    def await_start(self) -> None:
        """Wait until all are ready to train; raise what kept one from it."""
        for rank, connection in enumerate(self._connections, start=1):
            told = _received(connection)
            if told is not None:
                raise RankFailed(f"rank {rank} did not start") from told

    def failure(self) -> Exception | None:
        """What a follower failed of, if one tells soon."""
        for connection in self._connections:
            if connection.poll(GRACE):
                told = _received(connection)
                if isinstance(told, TELLING):
                    return told
        return None


def _received(connection: Connection) -> Exception | None:
    try:
        told: Exception | None = connection.recv()
    except EOFError:
        return RankFailed("a process that trains along ended without a word")
    return told


class _Unwritten(RunRecord):
    """The record as followers see it: rank 0 writes."""

    @property
    def checkpoints(self) -> list[Path]:
        """None: rank 0 chooses among them, and clears old ones away."""
        return []

    def history(self) -> list[dict[str, Any]]:
        """None."""
        return []

    def sync_history(self) -> int:
        """Nothing, of which there are no bytes."""
        return 0

    def set_phase(self, text: str) -> None:
        """Nothing."""

    def append(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Nothing."""

    def write_provenance(self, provenance: Mapping[str, Any]) -> None:
        """Nothing."""


def _follow(
    config: dict[str, Any], rank: int, processes: int, directory: Path, folder: str, connection: Connection
) -> None:
    """The body of another rank's process."""
    from ntkode.studies.cell import end_with_parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 answers for all
    threading.Thread(target=end_with_parent, args=(signal.SIGKILL,), daemon=True).start()
    threads = whole_number("threads", config["threads"], least=1)
    torch.set_num_threads(threads)
    connection.send(None)
    record = _Unwritten(directory)
    try:
        with threadpool_limits(threads), _group(config, rank, processes, folder):
            build(config["study"]).run(config, record, NoTracker(record, config, ""))
    except Exception as failure:
        traceback.print_exc()
        with suppress(Exception):  # rank 0 may be gone, and not every failure can be pickled
            connection.send(failure)


@contextmanager
def _group(config: Config, rank: int, processes: int, folder: str) -> Iterator[None]:
    """This process as one of the ranks, for torch.distributed and for Lightning."""
    os.environ["LOCAL_RANK"] = str(rank)  # so that Lightning starts no processes
    backend = "gloo" if config["trainer"]["accelerator"] == "cpu" else "nccl"
    if backend == "nccl":
        torch.cuda.set_device(rank)
    dist.init_process_group(
        backend, init_method=f"file://{folder}/store", rank=rank, world_size=processes, timeout=LONGEST_WAIT
    )
    try:
        yield
    finally:
        dist.destroy_process_group()
