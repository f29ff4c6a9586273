"""The resolvers that conf/ uses: functions of config values, such as the number of concurrent jobs."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ntkode.cli.choices import choices_help
from ntkode.execution.gpus import GPU_NAMES, visible_gpus


def register_resolvers() -> None:
    """Register the resolvers that conf/ uses."""
    OmegaConf.register_new_resolver("ntkode_workers", workers, replace=True)
    OmegaConf.register_new_resolver("ntkode_cores", cores, replace=True)
    OmegaConf.register_new_resolver("ntkode_gpus", gpus, replace=True)
    OmegaConf.register_new_resolver("ntkode_choices", choices_help, replace=True)
    OmegaConf.register_new_resolver("ntkode_steps", steps_over, replace=True)
    OmegaConf.register_new_resolver("ntkode_data_dir", data_dir, replace=True)


def workers(threads: Any, processes: Any = 1, accelerator: str = "cpu") -> int:
    """Number of concurrent jobs: usable cores over cores per job, likewise for GPUs; at least 1."""
    fitting = len(os.sched_getaffinity(0)) // cores(threads, processes)
    taken = gpus(accelerator, processes)
    if isinstance(taken, int) and taken > 0:
        fitting = min(fitting, len(visible_gpus()) // taken)
    return max(1, fitting)


def cores(threads: Any, processes: Any = 1) -> int:
    """Cores per job: threads times processes."""
    counts = [count for count in (threads, processes) if isinstance(count, int)]
    return max(1, math.prod(counts))  # the job reports an invalid number


def gpus(accelerator: str, devices: Any) -> int | None:
    """GPUs per job; None for training on the CPU."""
    return devices if accelerator in GPU_NAMES else None


def steps_over(horizon: float, per_unit: float) -> int:
    """Number of solver steps over [0, horizon] with steps of at most 1/per_unit; at least 1."""
    return max(1, math.ceil(round(horizon * per_unit, 9)))  # rounded: 0.7 * 10 counts as 7


def data_dir(root: str | None, name: str) -> str | None:
    """The folder `name` in `root`; None, which means the data set's default source, if it does not exist.

    Raises:
        NotADirectoryError: `root` is not a folder.
    """
    if root is None:
        return None
    if not Path(root).expanduser().is_dir():
        raise NotADirectoryError(
            f"data_root={root} is not a folder: set data_root=PATH to a folder that holds {name}/"
        )
    folder = Path(root).expanduser() / name
    return str(folder) if folder.is_dir() else None
