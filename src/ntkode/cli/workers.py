"""Hydra's callback for the workers of hydra/launcher=local."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ntkode.orphans import kill_with_parent

WORKER_KILLED = "a worker of the sweep was killed (out of memory?): the same command runs the rest"


class WorkersEndWithSweep(Callback):
    """Starts joblib's workers such that they end with this process, even if it is killed."""

    def on_multirun_start(self, config: DictConfig, **keywords: Any) -> None:
        """Give joblib another backend for its workers; the launcher has no setting for this."""
        if "joblib" in config.hydra.launcher._target_:
            from joblib import register_parallel_backend

            register_parallel_backend("loky", _backend())


@cache
def _backend() -> Any:
    """The class of joblib's backend; a function, because only local sweeps need the import."""
    from joblib.externals.loky.process_executor import TerminatedWorkerError
    from joblib.parallel import LokyBackend

    class EndingWorkers(LokyBackend):
        """Workers that end with this process; that one was killed is a message without a traceback."""

        def configure(self, *arguments: Any, **keywords: Any) -> Any:
            initializer = {"initializer": kill_with_parent, "initargs": (os.getpid(),)}
            return super().configure(*arguments, **keywords, **initializer)

        def retrieve_result_callback(self, future: Any) -> Any:
            try:
                return super().retrieve_result_callback(future)
            except TerminatedWorkerError as error:
                raise CompactHydraException(WORKER_KILLED) from error

    return EndingWorkers
