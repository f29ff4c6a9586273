"""Peak memory in bytes: of one call, and of a CUDA device."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

# Peak before the last reset of PyTorch's counter, by CUDA device.
_EARLIER: dict[torch.device, int] = {}


def allocated_peak(call: Callable[[], None], device: torch.device) -> int:
    """Peak number of bytes allocated during `call` beyond those before it, by PyTorch's allocator."""
    gc.collect()  # else a collection during the call may free earlier tensors, which would lower the peak
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        _EARLIER[device] = cuda_peak(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        call()
    # The public tables sum allocations by operator; only the raw events have their order in time.
    events = watched.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    held = highest = 0
    for _, change in changes:
        held += change
        highest = max(highest, held)
    return highest


def cuda_peak(device: torch.device) -> int:
    """Peak number of bytes allocated on a CUDA device, including before the resets of `allocated_peak`."""
    return max(torch.cuda.max_memory_allocated(device), _EARLIER.get(device, 0))
