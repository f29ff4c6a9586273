"""Which GPUs a job may see: those of its own, where several jobs share a machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    told = os.environ.get(VARIABLE)
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip()]
    import torch  # takes seconds, which jobs on the CPU need not pay

    return [str(index) for index in range(torch.cuda.device_count())]


@contextmanager
def own_gpus(trainer: Mapping[str, Any] | None) -> Iterator[str | None]:
    """The value of `CUDA_VISIBLE_DEVICES` for a job by this `trainer`, for the time of the `with` block.

    On the CPU, and where a queue has given just as many GPUs as the job takes, it is this process's own.
    Otherwise the job gets the first GPUs that no other job of this user on this machine has; where too few
    are left it sees all, and shares them.
    """
    with ExitStack() as stack:
        own = os.environ.get(VARIABLE)
        if trainer is not None and trainer.get("accelerator") in ("gpu", "cuda"):
            gpus, wanted = visible_gpus(), trainer["devices"]
            if isinstance(wanted, int) and 0 < wanted < len(gpus):
                own = _locked(gpus, wanted, stack) or own
        yield own


def _locked(gpus: list[str], wanted: int, stack: ExitStack) -> str | None:
    free: list[str] = []
    for gpu in gpus:
        path = Path(tempfile.gettempdir()) / f"ntkode-{os.getuid()}-gpu-{gpu}.lock"
        with suppress(filelock.Timeout, OSError):  # the system frees the lock of a process that dies
            stack.enter_context(filelock.FileLock(path, timeout=0))
            free.append(gpu)
        if len(free) == wanted:
            return ",".join(free)
    stack.close()
    return None


def show_gpus(visible: str | None) -> None:
    """Have this process see GPUs by this value of `CUDA_VISIBLE_DEVICES`; before its first use of CUDA."""
    os.environ.pop(VARIABLE, None)
    if visible is not None:
        os.environ[VARIABLE] = visible
