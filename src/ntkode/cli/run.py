"""Hydra's task: one composed config, one job.

The module is small because every worker of a sweep imports it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf

from ntkode.cli.refusal import out_of_reach
from ntkode.execution import run_job
from ntkode.execution.slurm import leave_task
from ntkode.results import RunRecord, Status, job_name, run_id


def run_config(config: DictConfig) -> float:
    """Run the job of a composed config; returns the value that an adaptive search optimises.

    Raises:
        CompactHydraException: the sweep's index cannot be written; Hydra ends the sweep with its message.
    """
    plain = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    about = HydraConfig.get()
    groups = about.runtime.choices.items()
    plain["choices"] = {g: c for g, c in groups if not g.startswith("hydra/") and c is not None}
    if "submitit" not in about.launcher._target_:
        leave_task()
    number = OmegaConf.select(cast(DictConfig, about), "job.num") or 0  # missing in a single run
    try:
        status = run_job(plain, job_name(about.overrides.task), number)
    except OSError as error:
        message = f"{out_of_reach(error)}: free space on the disk, or set results_dir=… to another folder"
        raise CompactHydraException(message) from error
    value = objective(plain) if status is Status.DONE else None
    return worst(cast(DictConfig, about)) if value is None else value


def worst(about: DictConfig) -> float:
    """The value of a job without a finite objective: a search needs a value from every job."""
    return -math.inf if OmegaConf.select(about, "sweeper.direction") == "maximize" else math.inf


def objective(config: Mapping[str, Any]) -> float | None:
    """The stored value of the metric named by the config's `objective`; None if it is not finite."""
    summary = RunRecord.open(config["results_dir"], run_id(config)).summary() or {}
    value = summary.get(config["objective"])
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
