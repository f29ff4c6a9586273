"""Where a run's measurements go: its own record always, and a tracker of the user's choice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any, Protocol

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from ntkode.results import RunRecord


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
    """The tracker's server cannot be reached, or wants an account.

    Attributes:
        remedy: the override to try.
    """

    remedy = "logger.mode=offline now and `wandb sync` later; or `wandb login` first"


class WandbTracker:
    """`logger=wandb`: one W&B run a job, named by its overrides, grouped by its sweep.

    The W&B run id is the run id, the config the resolved config; all metrics are defined against the
    step. An attempt takes the place of an earlier one; one that goes on from a checkpoint is to be given
    the rows up to there again. Offline files lie in the run's folder, those of the latest attempt alone.

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
        TrackerUnavailable: online, and W&B is out of reach or knows no key.
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
        import wandb  # takes a second, which other trackers need not pay for

        os.environ.setdefault("WANDB_SILENT", "true")
        shutil.rmtree(record.directory / "wandb", ignore_errors=True)
        self._logger = WandbLogger(
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
        )
        # Starts the W&B run now, so that a run which fails early is there, as failed.
        try:
            self._run = self._logger.experiment
        except wandb.Error as error:
            raise TrackerUnavailable(f"W&B with logger.mode={mode}: {error}") from error
        self.loggers: list[Logger] = [self._logger]

    def close(self, failed: bool) -> None:
        """Finish the W&B run with exit code 1 where it failed."""
        self._run.finish(exit_code=int(failed))
