"""Start a measurement in a fresh process, watch its time and memory, take its result."""

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
# Before the timed call: imports, compilation, the choice of a chunk.
SETUP_SECONDS = 300.0
POLL_SECONDS = 0.05
PEERS_PYTHON = HERE.parents[1] / ".venv-peers" / "bin" / "python"


def one_core(device: str) -> int | None:
    """A core for the measurements, which this process leaves alone where it has another."""
    if device != "cpu" or not hasattr(os, "sched_setaffinity"):
        return None
    cores = os.sched_getaffinity(0)
    core = max(cores)
    if len(cores) > 1:
        os.sched_setaffinity(0, cores - {core})
    return core


@dataclass(frozen=True)
class Limits:
    """What a measurement may take.

    Attributes:
        seconds: of the timed call.
        memory: bytes resident in its process.
    """

    seconds: float
    memory: int


@dataclass
class Outcome:
    """What came of a measurement.

    Attributes:
        row: status (done, timeout, memory, failed, not installed), reason, and what was measured.
        kernel: where there is one.
    """

    row: dict[str, Any]
    kernel: np.ndarray | None = None


def run(spec: dict[str, Any], limits: Limits) -> Outcome:
    """Carry out one measurement.

    Args:
        spec: as worker.py takes it, but for the folder and the limit.
        limits: beyond which the process is killed.
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
        spec: what the command needs, but for the folder and the limit; `core` is where it runs, or None, and
            `environment` what variables it gets beside those of one thread.
        limits: beyond which the process is killed.
        command: the program and its first arguments.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, log = folder / "spec.json", folder / "log"
        path.write_text(json.dumps(spec | {"folder": name, "limit_seconds": limits.seconds}))
        with log.open("w") as told:
            process = subprocess.Popen(
                [*command, str(path)],
                env=os.environ | ONE_THREAD | spec.get("environment", {}),
                stdout=told,
                stderr=told,
            )
            try:
                if spec["core"] is not None:
                    os.sched_setaffinity(process.pid, {spec["core"]})  # before it has other threads
                killed = _watch(process, folder, limits)
            finally:
                process.kill()
                process.wait()
        return Outcome(killed or _result(folder, process.returncode, log, limits), _kernel(folder))


def on_all_cores(specs: Sequence[dict[str, Any]], limits: Limits, command: list[str]) -> Iterator[Outcome]:
    """Carry out measurements, of which none is of time, beside each other: one on each core.

    Args:
        specs: as `watched` takes them, but for the core.
        limits: of each.
        command: likewise.
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
    """Wait for the process's end; a row where a limit ends it."""
    highest, phase, begin = 0, "setup", time.monotonic()
    while process.poll() is None:
        if phase == "setup" and (folder / stopwatch.STARTED).exists():
            phase, begin = "timed", time.monotonic()
        # A second to hand over what ended just in time.
        allowed = SETUP_SECONDS if phase == "setup" else limits.seconds + 1
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
        return {"status": "failed", "reason": values["error"]}
    if values.get("seconds", 0.0) > limits.seconds:
        return {"status": "timeout", "reason": f"> {limits.seconds:.4g} s"}
    return {"status": "done"} | values


def _kernel(folder: Path) -> np.ndarray | None:
    path = folder / stopwatch.KERNEL
    return np.load(path) if path.exists() else None
