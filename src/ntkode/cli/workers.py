"""Hydra's callback for the workers of hydra/launcher=local."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ntkode.orphans import kill_with_parent


class WorkersEndWithSweep(Callback):
    """Starts joblib's workers such that they end with this process, even if it is killed."""

    def on_multirun_start(self, config: DictConfig, **keywords: Any) -> None:
        """Give joblib's backend an initializer, which the launcher's own settings do not offer."""
        if "joblib" in config.hydra.launcher._target_:
            from joblib import register_parallel_backend  # here: only local sweeps need it
            from joblib.parallel import LokyBackend

            backend = partial(LokyBackend, initializer=kill_with_parent, initargs=(os.getpid(),))
            register_parallel_backend("loky", backend)
