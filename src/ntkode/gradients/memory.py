"""Peak memory of one call, and of a CUDA device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

# By CUDA device: the peak before the last reset of PyTorch's counter.
_EARLIER: dict[torch.device, int] = {}


def allocated_peak(call: Callable[[], None], device: torch.device) -> int:
    """Peak of the bytes that `call` holds at a time, by PyTorch's allocator."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        _EARLIER[device] = cuda_peak(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        call()
    # The public tables sum allocations by operator; their course in time is in the raw events alone.
    events = watched.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    held = highest = 0
    for _, change in changes:
        held += change
        highest = max(highest, held)
    return highest


def cuda_peak(device: torch.device) -> int:
    """Peak of the bytes allocated on a CUDA device, across the resets made by `allocated_peak`."""
    return max(torch.cuda.max_memory_allocated(device), _EARLIER.get(device, 0))
