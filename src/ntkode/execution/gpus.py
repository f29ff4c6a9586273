"""Which GPUs a job sees: different ones for each job of a machine, as long as there are enough."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from ntkode.checks import SettingError

VARIABLE = "CUDA_VISIBLE_DEVICES"
# Values of `trainer.accelerator`.
GPU_NAMES = ("gpu", "cuda")
# Runs support CPUs and CUDA GPUs; `auto` takes a GPU if there is one.
ACCELERATORS = ("cpu", *GPU_NAMES, "auto")


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    names = os.environ.get(VARIABLE)
    if names is not None:
        return [name.strip() for name in names.split(",") if name.strip()]
    import torch  # here, because jobs on the CPU do not need this import of seconds

    return [str(index) for index in range(torch.cuda.device_count())]


def require_gpus(wanted: int, trainer: str) -> None:
    """Check that PyTorch finds the GPUs of a job on this machine.

    Args:
        wanted: number of GPUs.
        trainer: the config's choice of `trainer`, for the message.

    Raises:
        SettingError: PyTorch finds fewer.
    """
    import torch

    available = torch.cuda.device_count()
    if available >= wanted:
        return
    needs = "a GPU" if wanted == 1 else f"{wanted} GPUs"
    setting = "trainer.accelerator=gpu" if trainer == "cpu" else f"trainer={trainer}"
    problem = f"{setting} needs {needs}, and PyTorch {torch.__version__} finds {available or 'none'} here"
    if torch.version.cuda is None and torch.version.hip is None:
        problem += " because it is built for the CPU only"
    if available:
        raise SettingError(problem, f"trainer.devices={available}")
    raise SettingError(problem, "trainer=cpu" if trainer == "gpu" else "trainer.accelerator=cpu")


@contextmanager
def assigned_gpus(trainer: Mapping[str, Any] | None) -> Iterator[str | None]:
    """The value of `CUDA_VISIBLE_DEVICES` for a job, reserved during the `with` block; None: not set.

    If this process sees more GPUs than the job uses, the job gets the first ones that no other job of this
    user on this machine has reserved; if too few are free, it sees all and shares them. In all other cases
    (on the CPU, or if a queue has assigned as many GPUs as the job uses) the value stays as it is.

    Args:
        trainer: the config's trainer, with `accelerator` and `devices`; None: no GPU.
    """
    with ExitStack() as stack:
        value = os.environ.get(VARIABLE)
        if trainer is not None and trainer.get("accelerator") in GPU_NAMES:
            gpus, wanted = visible_gpus(), trainer["devices"]
            if isinstance(wanted, int) and 0 < wanted < len(gpus):
                value = _locked(gpus, wanted, stack) or value
        yield value


def _locked(gpus: list[str], wanted: int, stack: ExitStack) -> str | None:
    free: list[str] = []
    for gpu in gpus:
        path = Path(tempfile.gettempdir()) / f"ntkode-{os.getuid()}-gpu-{gpu}.lock"
        with suppress(filelock.Timeout, OSError):  # the system releases the lock of a process that dies
            stack.enter_context(filelock.FileLock(path, timeout=0))
            free.append(gpu)
        if len(free) == wanted:
            return ",".join(free)
    stack.close()
    return None


def set_visible_gpus(visible: str | None) -> None:
    """Set `CUDA_VISIBLE_DEVICES` of this process (None: unset it); call before the first use of CUDA."""
    os.environ.pop(VARIABLE, None)
    if visible is not None:
        os.environ[VARIABLE] = visible
