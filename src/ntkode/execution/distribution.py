"""One run computed by several processes: the samples of each step are split among them (DDP).

The job's process is rank 0: it measures and writes the record, as in a run of one process. It starts the
other ranks, which train along and share the computation of kernels, and it ends them. Lightning's launchers
are not used: they start the whole program again, the sweep included, or compute in child processes, whose
callbacks' measurements do not reach the parent. In a SLURM job each task starts its rank (see `slurm`).
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from ntkode.checks import SettingError, whole_number
from ntkode.execution.fork_server import HELD_BACK, job_context
from ntkode.execution.gpus import ACCELERATORS, GPU_NAMES, require_gpus
from ntkode.execution.group import EXPLICIT, GRACE, Others, Place, joined
from ntkode.execution.slurm import Task, connect_to_first_task, this_task
from ntkode.orphans import interrupt_with_parent
from ntkode.results import RunRecord
from ntkode.results.secrets import print_traceback
from ntkode.studies.base import Config, Study, build
from ntkode.tracking import NoTracker, Tracker


def run_study(config: Config, record: RunRecord, tracker: Tracker) -> None:
    """Compute the run of `config` by `trainer.devices` processes on each of `trainer.num_nodes` machines.

    Args:
        config: the resolved config.
        record: the run's record, locked by this process.
        tracker: the run's tracker; only rank 0 uses it.

    Raises:
        Exception: what `Study.run` raises on any rank.
        ValueError: several processes without trainer=ddp, a number of machines or tasks that does not fit, or
            a study that runs in one process.
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
        except EXPLICIT:
            raise
        except Exception as failure:
            raise others.failure() or failure from failure


def follow_task(config: Config, task: Task, directory: Path) -> None:
    """Train along with task 0 of the job, as another rank, until task 0 has finished the run.

    Args:
        config: the resolved config.
        task: this process's task, of a rank above 0.
        directory: the run's folder.
    """
    connection = connect_to_first_task(task, directory.name)
    if connection is None:
        print(f"rank {task.rank} could not connect to task 0 at {task.host}:{task.port}", flush=True)
        return
    with connection, suppress(ValueError):  # task 0 reports it
        _rank_count(config, task)
        process = job_context().Process(
            target=_follow, args=(dict(config), _place_of(task), directory), daemon=True
        )
        process.start()
        wait([connection, process.sentinel])
        _end([process], GRACE)


def _rank_count(config: Config, task: Task | None) -> int:
    trainer = config.get("trainer")
    if not trainer:
        return 1
    accelerator = trainer["accelerator"]
    if isinstance(accelerator, str) and accelerator not in ACCELERATORS:
        problem = f"trainer.accelerator={accelerator} is none of {', '.join(ACCELERATORS)}"
        raise SettingError(problem, "trainer.accelerator=cpu")
    devices = whole_number("trainer.devices", trainer["devices"], least=1)
    nodes = whole_number("trainer.num_nodes", trainer.get("num_nodes", 1), least=1)
    tasks = 1 if task is None else task.tasks
    if devices * nodes > 1 and not trainer.get("strategy"):
        problem = f"trainer.devices={devices} needs trainer=ddp: one process uses one device"
        gpu = " trainer.accelerator=gpu" if accelerator in GPU_NAMES else ""
        raise SettingError(problem, f"trainer=ddp{gpu}")
    if tasks > 1 and tasks != devices * nodes:
        raise ValueError(
            f"the SLURM job has {tasks} tasks, but trainer.devices={devices} and trainer.num_nodes={nodes} "
            f"make {devices * nodes} ranks: leave out hydra.launcher.nodes and hydra.launcher.tasks_per_node"
        )
    if nodes > 1 and tasks == 1:
        raise ValueError(
            f"trainer.num_nodes={nodes} needs hydra/launcher=slurm, which starts one task per rank"
        )
    if accelerator in GPU_NAMES:
        require_gpus(devices if tasks == 1 else 1, config["choices"]["trainer"])
    return devices * nodes


@contextmanager
def _followers(
    config: Config, count: int, record: RunRecord, task: Task | None
) -> Iterator[tuple[Place, Callable[[], bool]]]:
    """Rank 0's place, and a function that returns whether the other ranks still run.

    The other ranks run during the `with` block. In a SLURM job their tasks have started them.
    """
    if task is not None and task.tasks > 1:
        yield _place_of(task), lambda: True
        return
    with tempfile.TemporaryDirectory() as folder:
        places = [Place(rank, count, 0, rank, f"file://{folder}/store") for rank in range(count)]
        context = job_context()  # not os.fork: CUDA and process groups do not survive it
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
        process.kill()  # rank 0 has stored all results
        process.join()


class _DiscardingRecord(RunRecord):
    """The record on ranks above 0: it discards what is written, because rank 0 writes."""

    @property
    def checkpoints(self) -> list[Path]:
        """An empty list: rank 0 selects the checkpoint and deletes old ones."""
        return []

    def history(self) -> list[dict[str, Any]]:
        """An empty list: rank 0 reads the history."""
        return []

    def sync_history(self) -> int:
        """Do nothing; return 0, the size of the empty history."""
        return 0

    def history_digest(self, size: int) -> str:
        """An empty text: rank 0 computes the digest."""
        return ""

    def set_phase(self, text: str) -> None:
        """Do nothing: rank 0 writes the status."""

    def append(self, row: Mapping[str, Any]) -> None:
        """Discard the row: rank 0 writes the history."""

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Discard the summary: rank 0 writes it."""

    def write_provenance(self, provenance: Mapping[str, Any]) -> None:
        """Discard the provenance: rank 0 writes it."""


def _follow(config: dict[str, Any], place: Place, directory: Path) -> None:
    """Train along as the rank at `place`: the target of the processes of ranks above 0."""
    for ending in HELD_BACK:
        signal.signal(ending, signal.SIG_IGN)  # rank 0 handles them and ends the others
    interrupt_with_parent(signal.SIGKILL)
    threads = whole_number("threads", config["threads"], least=1)
    torch.set_num_threads(threads)
    record = _DiscardingRecord(directory)
    store = place.store()
    place.announce_ready(store)
    try:
        with threadpool_limits(threads), joined(place, store, config["trainer"]["accelerator"]):
            build(config["study"]).run(config, record, NoTracker(record, config, ""))
    except Exception as failure:
        print_traceback()
        with suppress(Exception):  # rank 0 may have ended, and not every failure can be pickled
            place.report_failure(store, failure)
