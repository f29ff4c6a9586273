"""Time and memory of a call in a process of its own; needs NumPy only, for any interpreter."""

from __future__ import annotations

import ctypes
import gc
import json
import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# A call of fewer seconds than that is repeated so often, and the best is taken.
SHORT, REPEATS = 5.0, 3
STARTED, RESULT, KERNEL = "started", "result.json", "kernel.npy"


class HostMeter:
    """Resident memory of this process."""

    def synchronise(self) -> None:
        """Nothing runs beside the caller."""

    def on_host(self, kernel: Any) -> np.ndarray:
        """A kernel as an array."""
        return np.asarray(kernel)

    def reset(self) -> None:
        """Let the peak begin anew at what is resident now."""
        gc.collect()
        _trim()
        if Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _of_status("VmRSS") or _highest()

    def peak(self) -> tuple[int, int]:
        """(Bytes that the peak lies above what was resident at `reset`, the peak)."""
        peak = _of_status("VmHWM") or _highest()
        return peak - self._before, peak


@dataclass
class Stopwatch:
    """Measures one contestant and writes what came out into a folder.

    Attributes:
        folder: where `started` appears when the timed call begins, and then the result and the kernel.
        limit_seconds: repeats must fit in there too.
        meter: of the memory.
        repeats: calls that are timed, where one is short.
        short_seconds: what a short call takes at most.
        least_seconds: a short call is repeated further until all have taken that.
    """

    folder: Path
    limit_seconds: float
    meter: Any = field(default_factory=HostMeter)
    repeats: int = REPEATS
    short_seconds: float = SHORT
    least_seconds: float = 0.0

    def measure(self, call: Callable[[], Any], details: dict[str, Any]) -> None:
        """Time `call`, which returns a kernel or None, and take the memory of its first run.

        What it adds to `details` is handed over too.
        """
        self.write(**self.taken(call), details=details)

    def taken(self, call: Callable[[], Any]) -> dict[str, Any]:
        """Seconds of `call`, best and all, and the memory of its first run."""
        self.meter.reset()
        self.start()
        seconds = [self._time(call)]
        increase, peak = self.meter.peak()
        often = seconds[0] < self.short_seconds and self.repeats * seconds[0] < self.limit_seconds
        while often and (len(seconds) < self.repeats or sum(seconds) < self.least_seconds):
            seconds.append(self._time(call))
        if self._kernel is not None:
            np.save(self.folder / KERNEL, self.meter.on_host(self._kernel))
        return {"seconds": min(seconds), "repeats": seconds, "memory": increase, "peak_memory": peak}

    def start(self) -> None:
        """Say that the time limit counts from now."""
        (self.folder / STARTED).touch()

    def write(self, **values: Any) -> None:
        """Hand `values` to the process that asked."""
        (self.folder / RESULT).write_text(json.dumps(values))

    def _time(self, call: Callable[[], Any]) -> float:
        self._kernel = None  # a kept kernel would count as memory of the next run
        begin = time.perf_counter()
        kernel = call()
        self.meter.synchronise()
        seconds = time.perf_counter() - begin
        self._kernel = kernel
        return seconds


def _trim() -> None:
    """Give freed memory back to the system, with glibc: else a trial's would hide that of the timed call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _of_status(name: str) -> int | None:
    # Not ru_maxrss: on Linux a process inherits that of the one which started it.
    status = Path("/proc/self/status")
    found = re.search(rf"^{name}:\s+(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) * 1024 if found else None


def _highest() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB
