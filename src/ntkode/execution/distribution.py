"""One cell by several processes: the samples of every step are split over them (DDP).

The cell's own process is rank 0: it measures and writes the record, as in a cell of one process. It starts
the others, which train along and share the work of kernels, and ends them. Lightning's launchers start the
whole program again, the sweep included, or leave the parent without what its callbacks measured. In a SLURM
job with a task for each rank, the tasks start them (see `slurm`).
"""

from __future__ import annotations

import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from ntkode.checks import whole_number
from ntkode.execution.fork_server import HELD_BACK, cell_context, end_with_parent
from ntkode.execution.group import GRACE, TELLING, Others, Place, joined
from ntkode.execution.slurm import Task, find_at_work, this_task
from ntkode.results import RunRecord
from ntkode.studies.base import Config, Study, build
from ntkode.tracking import NoTracker, Tracker


def run_study(config: Config, record: RunRecord, tracker: Tracker) -> None:
    """Compute the cell of `config`, by `trainer.devices` processes on each of `trainer.num_nodes` machines.

    Raises:
        Exception: what `Study.run` raises on any rank.
        ValueError: several processes without trainer=ddp, more machines or other tasks than there are, or a
            study that runs in one process.
    """
    study: Study = build(config["study"])
    task = this_task()
    count = _rank_count(config, task)
    if count == 1:
        study.run(config, record, tracker)
        return
    if not getattr(study, "distributed", False):
        raise ValueError(f"study={config['choices']['study']} runs in one process: take trainer=cpu")
    with _followers(config, count, record, task) as (place, alive):
        store = place.store()
        others = Others(store, count, alive)
        others.await_start()
        try:
            with joined(place, store, config["trainer"]["accelerator"]):
                study.run(config, record, tracker)
        except TELLING:
            raise
        except Exception as failure:
            raise others.failure() or failure from failure


def follow_task(config: Config, task: Task, directory: Path) -> None:
    """Take part in the run of a job's task 0 as another rank, for as long as that one is at work on it.

    Args:
        config: the cell's config.
        task: this process's.
        directory: the run's folder.
    """
    connection = find_at_work(task, directory.name)
    if connection is None:
        print(f"rank {task.rank} found no task 0 at {task.host}:{task.port}", flush=True)
        return
    with connection, suppress(ValueError):  # which task 0 tells
        _rank_count(config, task)
        process = cell_context().Process(
            target=_follow, args=(dict(config), _place_of(task), directory), daemon=True
        )
        process.start()
        wait([connection, process.sentinel])
        _end([process], GRACE)


def _rank_count(config: Config, task: Task | None) -> int:
    trainer = config.get("trainer")
    if not trainer:
        return 1
    devices = whole_number("trainer.devices", trainer["devices"], least=1)
    nodes = whole_number("trainer.num_nodes", trainer.get("num_nodes", 1), least=1)
    tasks = 1 if task is None else task.tasks
    if devices * nodes > 1 and not trainer.get("strategy"):
        raise ValueError(f"trainer.devices={devices} takes trainer=ddp; one process uses one device")
    if tasks > 1 and tasks != devices * nodes:
        raise ValueError(
            f"the SLURM job has {tasks} tasks, but trainer.devices={devices} on trainer.num_nodes={nodes} "
            "makes another number of ranks: leave out hydra.launcher.nodes and .tasks_per_node"
        )
    if nodes > 1 and tasks == 1:
        raise ValueError(f"trainer.num_nodes={nodes} takes hydra/launcher=slurm, which starts a task a rank")
    return devices * nodes


@contextmanager
def _followers(
    config: Config, count: int, record: RunRecord, task: Task | None
) -> Iterator[tuple[Place, Callable[[], bool]]]:
    """Rank 0's place, and whether the others are still there; they end with the `with` block."""
    if task is not None and task.tasks > 1:
        yield _place_of(task), lambda: True
        return
    with tempfile.TemporaryDirectory() as folder:
        places = [Place(rank, count, 0, rank, f"file://{folder}/store") for rank in range(count)]
        context = cell_context()  # a server of the cell's own: CUDA, and a process group, outlive no fork
        arguments = [(dict(config), place, record.directory) for place in places[1:]]
        processes = [context.Process(target=_follow, args=some, daemon=True) for some in arguments]
        for process in processes:
            process.start()
        try:
            yield places[0], lambda: all(process.is_alive() for process in processes)
        except BaseException:
            _end(processes, 0.0)
            raise
        _end(processes, GRACE)


def _place_of(task: Task) -> Place:
    return Place(task.rank, task.tasks, task.node, task.local_rank, task.meeting)


def _end(processes: Sequence[BaseProcess], grace: float) -> None:
    for process in processes:
        process.join(grace)
        process.kill()  # nothing of theirs is kept
        process.join()


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


def _follow(config: dict[str, Any], place: Place, directory: Path) -> None:
    """The body of another rank's process."""
    for ending in HELD_BACK:
        signal.signal(ending, signal.SIG_IGN)  # rank 0 answers for all
    threading.Thread(target=end_with_parent, args=(signal.SIGKILL,), daemon=True).start()
    threads = whole_number("threads", config["threads"], least=1)
    torch.set_num_threads(threads)
    record = _Unwritten(directory)
    store = place.store()
    place.tell_ready(store)
    try:
        with threadpool_limits(threads), joined(place, store, config["trainer"]["accelerator"]):
            build(config["study"]).run(config, record, NoTracker(record, config, ""))
    except Exception as failure:
        traceback.print_exc()
        with suppress(Exception):  # rank 0 may be gone, and not every failure can be pickled
            place.tell_failure(store, failure)
