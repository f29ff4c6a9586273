"""Where a run's measurements go: its own record always, and a tracker of the user's choice."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from ntkode.results import RunRecord
from ntkode.tracking.wandb_server import check_key, check_server, server_url


class HistoryLogger(Logger):
    """Appends every row to the run's `history.jsonl`.

    Args:
        record: the run's record.
    """

    def __init__(self, record: RunRecord) -> None:
        super().__init__()
        self._record = record

    @property
    def name(self) -> str:
        """`history`."""
        return "history"

    @property
    def version(self) -> str:
        """The run id."""
        return self._record.run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row."""
        self._record.append({"step": step, **metrics})

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the record holds the config."""


class Tracker(Protocol):
    """One run's connection to an experiment tracker."""

    loggers: list[Logger]

    def close(self, failed: bool) -> None:
        """End the tracked run, as failed or not."""
        ...


class NoTracker:
    """`logger=none`: the record alone.

    Args:
        record: the run's record.
        config: the resolved config.
        job: the run's overrides, as its readable name.
    """

    def __init__(self, record: RunRecord, config: Mapping[str, Any], job: str) -> None:
        self.loggers: list[Logger] = []

    def close(self, failed: bool) -> None:
        """Nothing to end."""


class CSVTracker:
    """`logger=csv`: `metrics.csv` in the run's folder.

    Args:
        record: the run's record.
        config: the resolved config.
        job: the run's overrides, as its readable name.
    """

    def __init__(self, record: RunRecord, config: Mapping[str, Any], job: str) -> None:
        self._logger = CSVLogger(save_dir=record.directory, name="", version="")
        self.loggers: list[Logger] = [self._logger]

    def close(self, failed: bool) -> None:
        """Write what is buffered."""
        self._logger.save()


class TrackerUnavailable(RuntimeError):
    """The tracker cannot start.

    Args:
        problem: why.
        remedy: the override to try.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


REMEDIES = {
    "online": "logger.mode=offline now and `make sync` later; or `wandb login` first",
    "offline": "logger=csv or logger=none",
    "disabled": "logger=none",
}
"""What to try where W&B cannot start, by mode."""


START_SECONDS, FINISH_SECONDS = 30.0, 60.0
"""How long W&B's server may take to begin a run, and to take the rest of one at its end."""


class SafeWandbLogger(WandbLogger):
    """A WandbLogger of which a failure never ends the training that it watches.

    The first is told in the run's log; W&B gets no more rows then. The record's history has them all.
    """

    failed = False

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send a row, unless an earlier one failed."""
        if self.failed:
            return
        try:
            super().log_metrics(metrics, step)
        except Exception:
            self.failed = True
            traceback.print_exc()
            print(f"W&B failed at step {step} and gets no more rows; history.jsonl has all", file=sys.stderr)


class WandbTracker:
    """`logger=wandb`: one W&B run a job, named by its overrides, grouped by its sweep.

    The W&B run id is the run id, the config the resolved config; all metrics are defined against the
    step. An attempt takes the place of an earlier one; one that goes on from a checkpoint is to be given
    the rows up to there again. Offline files lie in the run's folder, those of the latest attempt alone. A
    W&B that fails after the start takes no row from the record and does not end the run.

    Args:
        record: the run's record.
        config: the resolved config.
        job: the run's overrides, as its readable name.
        project: W&B project.
        mode: "offline", "online" or "disabled".
        entity: W&B user or team; the account's default unless given.
        tags: W&B tags.

    Raises:
        ValueError: another `mode`.
        TrackerUnavailable: W&B cannot start; online also where its server does not answer within seconds,
            or there is no key.
    """

    def __init__(
        self,
        record: RunRecord,
        config: Mapping[str, Any],
        job: str,
        *,
        project: str = "ntkode",
        mode: str = "offline",
        entity: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        if mode not in ("offline", "online", "disabled"):
            raise ValueError(
                f"logger.mode={mode} must be offline, online or disabled, as in logger.mode=offline"
            )
        os.environ.setdefault("WANDB_SILENT", "true")
        try:
            if mode == "online":
                url = server_url()
                check_server(url)
                check_key(url)
            shutil.rmtree(record.directory / "wandb", ignore_errors=True)
            self._logger = SafeWandbLogger(
                name=job,
                id=record.run_id,
                save_dir=record.directory,
                project=project,
                config=dict(config),
                mode=mode,
                entity=entity,
                group=str(config["sweep"]),
                tags=tags,
                resume=None,  # resumed by W&B, a run would have the steps since the last checkpoint twice
                settings=_settings(),
            )
            # Starts the W&B run now, so that a run which fails early is there, as failed.
            self._run = self._logger.experiment
        except Exception as error:  # whatever keeps W&B from starting has the same way out
            raise TrackerUnavailable(f"W&B with logger.mode={mode}: {error}", REMEDIES[mode]) from error
        self.loggers: list[Logger] = [self._logger]

    def close(self, failed: bool) -> None:
        """Finish the W&B run with exit code 1 where it failed.

        Raises:
            TimeoutError: the server has not taken the rest within `FINISH_SECONDS`.
        """
        try:
            self._run.finish(exit_code=int(failed))
        except TimeoutError as error:
            raise TimeoutError(
                f"W&B's server has not taken the rest within {FINISH_SECONDS:g} s: once it answers, "
                f"wandb sync --include-online {Path(self._run.dir).parent}"
            ) from error


def _settings() -> Any:
    """W&B's settings: it gives up on a server that is gone, for which it would wait for hours."""
    import wandb

    return wandb.Settings(
        init_timeout=START_SECONDS, finish_timeout=FINISH_SECONDS, finish_timeout_raises=True
    )
