"""Loggers of a run's measurements: its record, and a tracker of the user's choice."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from ntkode.files import remove_folder, remove_link
from ntkode.ranks import act_as_first
from ntkode.results import RunRecord
from ntkode.results.secrets import masked, print_traceback
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
        """The logger's name for Lightning: `history`."""
        return "history"

    @property
    def version(self) -> str:
        """The logger's version for Lightning: the run's id."""
        return self._record.run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row of metrics to the history."""
        self._record.append({"step": step, **metrics})

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the record already holds the config."""


class Tracker(Protocol):
    """The connection of one run to an experiment tracker.

    Attributes:
        loggers: Lightning loggers that receive each row.
    """

    loggers: list[Logger]

    def close(self, failed: bool) -> None:
        """Finish the tracked run.

        Args:
            failed: whether the run has failed.
        """
        ...


class NoTracker:
    """`logger=none`: no tracker in addition to the record.

    Args:
        record: the run's record.
        config: the resolved config.
        job: the run's overrides, as its readable name.
    """

    def __init__(self, record: RunRecord, config: Mapping[str, Any], job: str) -> None:
        self.loggers: list[Logger] = []

    def close(self, failed: bool) -> None:
        """Do nothing: there is no tracked run."""


class CSVTracker:
    """`logger=csv`: `metrics.csv` in the run's folder.

    Args:
        record: the run's record.
        config: the resolved config.
        job: the run's overrides, as its readable name.
    """

    def __init__(self, record: RunRecord, config: Mapping[str, Any], job: str) -> None:
        act_as_first()
        remove_link(record.directory / "metrics.csv")
        self._logger = CSVLogger(save_dir=record.directory, name="", version="")
        self.loggers: list[Logger] = [self._logger]

    def close(self, failed: bool) -> None:
        """Write the buffered rows to the file."""
        self._logger.save()


class TrackerUnavailable(RuntimeError):
    """The tracker cannot start.

    Args:
        problem: why it cannot start.
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
"""Remedies if W&B cannot start, by `logger.mode`."""


START_SECONDS, FINISH_SECONDS = 30.0, 60.0
"""Seconds that W&B's server may take to start a run, and to receive the remaining data at its end."""


class SafeWandbLogger(WandbLogger):
    """A WandbLogger whose failures do not end the training.

    The first failure is printed to the run's log, and W&B receives no further rows. The record's history has
    all rows.
    """

    failed = False

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send a row to W&B, unless sending has failed before."""
        if self.failed:
            return
        try:
            super().log_metrics(metrics, step)
        except Exception:
            self.failed = True
            print_traceback()
            print(
                f"W&B failed at step {step} and gets no further rows; history.jsonl has all",
                file=sys.stderr,
            )


class WandbTracker:
    """`logger=wandb`: one W&B run per job, named by the job's overrides and grouped by its sweep.

    The W&B run has the run's id and resolved config; the x-axis of all metrics is the step. A new attempt
    replaces an earlier one, so an attempt that resumes from a checkpoint must send the earlier rows again.
    Offline files are in the run's folder, which keeps only those of the latest attempt. A failure of W&B
    after the start neither ends the run nor affects its record.

    Args:
        record: the run's record.
        config: the resolved config.
        job: the run's overrides, as its readable name.
        project: W&B project.
        mode: "offline", "online" or "disabled".
        entity: W&B user or team; None: the account's default.
        tags: W&B tags.

    Raises:
        ValueError: an unknown `mode`.
        TrackerUnavailable: W&B cannot start; with mode "online" also if its server does not answer within
            seconds, or if there is no key.
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
                f"logger.mode={mode} is not one of offline, online, disabled, as in logger.mode=offline"
            )
        act_as_first()
        os.environ.setdefault("WANDB_SILENT", "true")
        try:
            if mode == "online":
                url = server_url()
                check_server(url)
                check_key(url)
            remove_folder(record.directory / "wandb")
            self._logger = SafeWandbLogger(
                name=job,
                id=record.run_id,
                save_dir=record.directory,
                project=project,
                config=masked(config),
                mode=mode,
                entity=entity,
                group=str(config["sweep"]),
                tags=tags,
                resume=None,  # with resume, W&B would have the steps since the last checkpoint twice
                settings=_settings(),
            )
            # Starts the W&B run now, so that W&B also has runs that fail early.
            self._run = self._logger.experiment
        except Exception as error:  # the remedy is the same for all causes
            raise TrackerUnavailable(f"W&B with logger.mode={mode}: {error}", REMEDIES[mode]) from error
        self.loggers: list[Logger] = [self._logger]

    def close(self, failed: bool) -> None:
        """Finish the W&B run, with exit code 1 if it failed and 0 otherwise.

        Raises:
            TimeoutError: the server has not received all data within `FINISH_SECONDS`.
        """
        try:
            self._run.finish(exit_code=int(failed))
        except TimeoutError as error:
            raise TimeoutError(
                f"W&B's server has not received all data within {FINISH_SECONDS:g} s: once it answers, run "
                f"wandb sync --include-online {Path(self._run.dir).parent}"
            ) from error


def _settings() -> Any:
    """W&B's settings with time limits; by default it waits for hours for a server that does not answer."""
    import wandb

    return wandb.Settings(
        init_timeout=START_SECONDS, finish_timeout=FINISH_SECONDS, finish_timeout_raises=True
    )
