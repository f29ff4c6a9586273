"""The resolvers that conf/ uses: functions of config values, such as the jobs that run at a time."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ntkode.cli.choices import choices_help
from ntkode.execution.gpus import visible_gpus


def register_resolvers() -> None:
    """Make known the resolvers that conf/ uses."""
    OmegaConf.register_new_resolver("ntkode_workers", workers, replace=True)
    OmegaConf.register_new_resolver("ntkode_cores", cores, replace=True)
    OmegaConf.register_new_resolver("ntkode_gpus", gpus, replace=True)
    OmegaConf.register_new_resolver("ntkode_choices", choices_help, replace=True)
    OmegaConf.register_new_resolver("ntkode_steps", steps_over, replace=True)
    OmegaConf.register_new_resolver("ntkode_data_dir", data_dir, replace=True)


def workers(threads: Any, processes: Any = 1, accelerator: str = "cpu") -> int:
    """Jobs at a time: the cores that this process may use, by those of a job; likewise the GPUs."""
    fitting = len(os.sched_getaffinity(0)) // cores(threads, processes)
    taken = gpus(accelerator, processes)
    if isinstance(taken, int) and taken > 0:
        fitting = min(fitting, len(visible_gpus()) // taken)
    return max(1, fitting)


def cores(threads: Any, processes: Any = 1) -> int:
    """Cores of a job: the threads of each of its processes."""
    counts = [count for count in (threads, processes) if isinstance(count, int)]
    return max(1, math.prod(counts))  # a number that is none: the job itself says so


def gpus(accelerator: str, devices: Any) -> int | None:
    """GPUs of a job; None where the CPU trains."""
    return devices if accelerator in ("gpu", "cuda") else None


def steps_over(horizon: float, per_unit: float) -> int:
    """Solver steps over [0, horizon] of 1/per_unit each, the last one no longer; at least one."""
    return max(1, math.ceil(round(horizon * per_unit, 9)))  # 0.7 * 10 is 7, rounding aside


def data_dir(root: str | None, name: str) -> str | None:
    """The folder `name` of `root`; None, for the data set's own source, where there is none.

    Raises:
        NotADirectoryError: `root` is no folder.
    """
    if root is None:
        return None
    if not Path(root).expanduser().is_dir():
        raise NotADirectoryError(f"data_root={root} is not a folder: data_root=PATH of one with {name}/")
    folder = Path(root).expanduser() / name
    return str(folder) if folder.is_dir() else None
