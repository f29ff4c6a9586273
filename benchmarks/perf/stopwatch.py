"""Time and memory of a call in the present process; needs only NumPy, so any interpreter can import it."""

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

# A call shorter than SHORT seconds is run REPEATS times, and the best time is taken.
SHORT, REPEATS = 5.0, 3
STARTED, RESULT, KERNEL = "started", "result.json", "kernel.npy"


class HostMeter:
    """Resident memory of this process."""

    def synchronise(self) -> None:
        """Do nothing: calls on the CPU are synchronous."""

    def on_host(self, kernel: Any) -> np.ndarray:
        """The kernel as a NumPy array."""
        return np.asarray(kernel)

    def reset(self) -> None:
        """Reset the peak to the memory resident now."""
        gc.collect()
        _trim()
        if Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _of_status("VmRSS") or _highest()

    def peak(self) -> tuple[int, int]:
        """Bytes of the peak above the level at `reset`, and the peak."""
        peak = _of_status("VmHWM") or _highest()
        return peak - self._before, peak


@dataclass
class Stopwatch:
    """Measures one contestant and stores the result in a folder.

    Attributes:
        folder: receives `started` when the timed call begins, then the result and the kernel.
        limit_seconds: limit of all repeats together.
        meter: measures the memory.
        repeats: number of timed calls, if a call is short.
        short_seconds: calls below this time are short.
        least_seconds: short calls are repeated until they add up to this time.
    """

    folder: Path
    limit_seconds: float
    meter: Any = field(default_factory=HostMeter)
    repeats: int = REPEATS
    short_seconds: float = SHORT
    least_seconds: float = 0.0

    def measure(self, call: Callable[[], Any], details: dict[str, Any]) -> None:
        """Time `call`, which returns a kernel or None, and measure the memory of its first run.

        The result includes `details`, to which `call` may add.
        """
        self.write(**self.taken(call), details=details)

    def taken(self, call: Callable[[], Any]) -> dict[str, Any]:
        """Seconds of `call` (best and all) and the memory of its first run."""
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
        """Signal that the time limit counts from now."""
        (self.folder / STARTED).touch()

    def write(self, **values: Any) -> None:
        """Store `values` for the parent process."""
        (self.folder / RESULT).write_text(json.dumps(values))

    def _time(self, call: Callable[[], Any]) -> float:
        self._kernel = None  # else the kernel would count as memory of the next run
        begin = time.perf_counter()
        kernel = call()
        self.meter.synchronise()
        seconds = time.perf_counter() - begin
        self._kernel = kernel
        return seconds


def _trim() -> None:
    """Return freed memory to the system (glibc): memory of trials would hide that of the timed call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _of_status(name: str) -> int | None:
    # Not ru_maxrss: on Linux a process inherits it from its parent.
    status = Path("/proc/self/status")
    match = re.search(rf"^{name}:\s+(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(match[1]) * 1024 if match else None


def _highest() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB
