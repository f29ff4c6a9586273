"""Run a measurement in a fresh process, limit its time and memory, and read its result."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import stopwatch

HERE = Path(__file__).resolve().parent
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
POLL_SECONDS = 0.05
PEERS_PYTHON = HERE.parents[1] / ".venv-peers" / "bin" / "python"


def one_core(device: str) -> int | None:
    """A core reserved for measurements; this process moves to the other cores, if there are any."""
    if device != "cpu" or not hasattr(os, "sched_setaffinity"):
        return None
    cores = os.sched_getaffinity(0)
    core = max(cores)
    if len(cores) > 1:
        os.sched_setaffinity(0, cores - {core})
    return core


@dataclass(frozen=True)
class Limits:
    """Limits of a measurement.

    Attributes:
        seconds: seconds of the timed call.
        memory: resident bytes of its process.
        setup_seconds: seconds before the timed call, for imports, compilation and trials of the chunk size.
    """

    seconds: float
    memory: int
    setup_seconds: float = 300.0


@dataclass
class Outcome:
    """The result of a measurement.

    Attributes:
        row: status (done, timeout, memory, failed, not installed), reason and measured values.
        kernel: the kernel; None if the contestant computes none.
    """

    row: dict[str, Any]
    kernel: np.ndarray | None = None


def run(spec: dict[str, Any], limits: Limits) -> Outcome:
    """Carry out one measurement.

    Args:
        spec: specification for worker.py, without folder and limit.
        limits: limits beyond which the process is killed.
    """
    if spec["contestant"] != "neural-tangents":
        return watched(spec, limits, [sys.executable, str(HERE / "worker.py")])
    if spec["device"] != "cpu":
        return Outcome({"status": "not installed", "reason": "make perf-peers installs JAX for the CPU only"})
    if not PEERS_PYTHON.exists():
        return Outcome({"status": "not installed", "reason": "make perf-peers installs it"})
    return watched(spec, limits, [str(PEERS_PYTHON), str(HERE / "neural_tangents_peer.py")])


def watched(spec: dict[str, Any], limits: Limits, command: list[str]) -> Outcome:
    """Carry out one measurement by `command`, which takes the path of a specification.

    Args:
        spec: specification for the command, without folder and limit; `core` is the core to run on, or None,
            and `environment` holds additional environment variables.
        limits: limits beyond which the process is killed.
        command: the program and its first arguments.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, log = folder / "spec.json", folder / "log"
        path.write_text(json.dumps(spec | {"folder": name, "limit_seconds": limits.seconds}))
        with log.open("w") as output:
            process = subprocess.Popen(
                [*command, str(path)],
                env=os.environ | ONE_THREAD | spec.get("environment", {}),
                stdout=output,
                stderr=output,
            )
            try:
                if spec["core"] is not None:
                    os.sched_setaffinity(process.pid, {spec["core"]})  # before it starts threads
                killed = _watch(process, folder, limits)
            finally:
                end(process)
        return Outcome(killed or _result(folder, process.returncode, log, limits), _kernel(folder))


def end(process: subprocess.Popen[Any]) -> None:
    """End a process and all that it started: they would compute on beside the next measurement."""
    if process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            started = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for descendant in started:
                with suppress(psutil.NoSuchProcess):
                    descendant.kill()
    process.wait()


def on_all_cores(specs: Sequence[dict[str, Any]], limits: Limits, command: list[str]) -> Iterator[Outcome]:
    """Carry out untimed measurements in parallel, one per core.

    Args:
        specs: specifications as for `watched`, without the core.
        limits: limits of each measurement.
        command: the program and its first arguments.
    """
    free: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]:
        free.put(core)

    def one(spec: dict[str, Any]) -> Outcome:
        core = free.get()
        try:
            return watched(spec | {"core": core}, limits, command)
        finally:
            free.put(core)

    with ThreadPoolExecutor(free.qsize()) as pool:
        yield from pool.map(one, specs)


def _watch(process: subprocess.Popen, folder: Path, limits: Limits) -> dict[str, Any] | None:
    """Wait until the process ends; returns a row if it exceeds a limit, else None."""
    highest, phase, begin = 0, "setup", time.monotonic()
    while process.poll() is None:
        if phase == "setup" and (folder / stopwatch.STARTED).exists():
            phase, begin = "timed", time.monotonic()
        # One extra second to store a result that was ready in time.
        allowed = limits.setup_seconds if phase == "setup" else limits.seconds + 1
        highest = max(highest, _resident(process.pid))
        if highest > limits.memory:
            return {"status": "memory", "reason": f"> {limits.memory / 1e9:.3g} GB", "peak_memory": highest}
        if time.monotonic() - begin > allowed:
            what = "" if phase == "timed" else " before the timed call"
            reason = f"> {allowed - (phase == 'timed'):.4g} s{what}"
            return {"status": "timeout", "reason": reason, "peak_memory": highest}
        time.sleep(POLL_SECONDS)
    return None


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _result(folder: Path, returned: int, log: Path, limits: Limits) -> dict[str, Any]:
    path = folder / stopwatch.RESULT
    if returned < 0:
        return {"status": "failed", "reason": f"killed by signal {-returned} (out of memory?)"}
    if not path.exists():
        last = (log.read_text().strip().splitlines() or [f"exit code {returned}"])[-1]
        return {"status": "failed", "reason": last[:200]}
    values: dict[str, Any] = json.loads(path.read_text())
    if "error" in values:
        return {"status": "failed", "reason": values.pop("error"), **values}
    if values.get("seconds", 0.0) > limits.seconds:
        return {"status": "timeout", "reason": f"> {limits.seconds:.4g} s"}
    return {"status": "done"} | values


def _kernel(folder: Path) -> np.ndarray | None:
    path = folder / stopwatch.KERNEL
    return np.load(path) if path.exists() else None
