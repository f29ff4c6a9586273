"""The progress of a sweep, displayed by the main process while jobs run in other processes."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ntkode.report.console import RecordConsole
from ntkode.report.formatting import three_digits
from ntkode.results import RecordUnreadable, RunRecord, Status, SweepIndex, damage, utc_now

MOST_BARS = 12
"""With more jobs than this, only running jobs have a bar each, below one bar for the whole sweep."""


@dataclass(frozen=True)
class JobProgress:
    """The progress of one job by its record at one moment.

    Attributes:
        label: the job's overrides.
        status: the run's status; None: the job has not started.
        message: the phase of a running job, or how the job ended.
        step: last step of the history.
        steps: number of steps of the run; None: unknown.
        loss: last training loss; None: not measured yet.
        lambda_min: last λ_min; None: not measured yet.
        elapsed: seconds since the job's first attempt started.
        remaining: estimated seconds left; None: unknown.
    """

    label: str
    status: Status | None = None
    message: str = ""
    step: int = 0
    steps: int | None = None
    loss: float | None = None
    lambda_min: float | None = None
    elapsed: float = 0.0
    remaining: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the job has ended, successfully or not."""
        return self.status not in (None, Status.RUNNING)

    @property
    def numbers(self) -> list[str]:
        """Texts for step, loss and λ_min; empty where unknown."""
        return [
            "" if self.steps is None else f"{self.step}/{self.steps}",
            "" if self.loss is None else f"loss {three_digits(self.loss)}",
            "" if self.lambda_min is None else f"λ_min {three_digits(self.lambda_min)}",
        ]

    @property
    def timing(self) -> str:
        """Text of the elapsed time, with the estimated time left of a running job."""
        left = "" if self.remaining is None or self.ended else f", {_clock(self.remaining)} left"
        return _clock(self.elapsed) + left


class SweepMonitor:
    """Displays the jobs of a sweep while they run: bars on a terminal, otherwise a line per job at intervals.

    Use it as a context manager around the sweep; the display starts with `watch`, and contains the runs added
    to the sweep's index from then on. All is read from the records, so that any process may run a job. While
    a record cannot be read, its last known progress is displayed.

    Args:
        results_dir: the results folder.
        console: where to print.
        poll_seconds: seconds between two readings of the records.
        line_seconds: without a terminal, seconds between two lines of a job.
    """

    def __init__(
        self,
        results_dir: Path | str,
        console: Console | None = None,
        poll_seconds: float = 0.5,
        line_seconds: float = 5.0,
    ) -> None:
        self._results_dir = Path(results_dir)
        self._display = _display(console or RecordConsole(), line_seconds)
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._readers: dict[str, _JobReader] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._poll(last=True)
        self._display.close()

    def watch(self, sweep: str) -> None:
        """Start to display the jobs that are added to `sweep` from now on.

        Raises:
            RuntimeError: the monitor already watches a sweep.
        """
        if self._thread is not None:
            raise RuntimeError(f"already watching a sweep; cannot watch {sweep!r} as well")
        self._index = SweepIndex(self._results_dir, sweep)
        self._since = self._index.size()
        self._began = utc_now()
        self._thread = threading.Thread(target=self._poll_until_stopped, name="sweep-monitor", daemon=True)
        self._thread.start()

    def _poll_until_stopped(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            self._poll()

    def _poll(self, last: bool = False) -> None:
        try:
            runs = self._index.runs(self._since)
        except (OSError, RecordUnreadable):
            return
        for job, run_id in runs.items():
            if job not in self._readers or self._readers[job].record.run_id != run_id:
                record = RunRecord.open(self._results_dir, run_id)
                self._readers[job] = _JobReader(job, record, self._began)
        self._display.show([reader.read(last) for reader in self._readers.values()])


def _distinct_labels(jobs: list[JobProgress]) -> list[JobProgress]:
    """The jobs, with labels that omit the overrides common to all."""
    words = [job.label.split() for job in jobs]
    shared = set.intersection(*map(set, words)) if len(jobs) > 1 else set()
    labels = [" ".join(word for word in label if word not in shared) for label in words]
    return [replace(job, label=label or job.label) for job, label in zip(jobs, labels, strict=True)]


class _JobReader:
    """Reads the progress of one job; keeps last values that the newest rows no longer contain."""

    def __init__(self, job: str, record: RunRecord, began: str) -> None:
        self.record = record
        self._began = began
        self._progress = JobProgress(label=job or "defaults")
        self._started: str | None = None  # start of the job's first attempt under this monitor
        self._attempt: str | None = None  # start of the attempt to which the following values belong
        self._steps: int | None = None
        self._latest: dict[str, float] = {}
        self._verified: str | None = None  # end of the attempt to which `_problem` belongs
        self._problem: str | None = None
        self._first: tuple[float, int] | None = None  # (time, step) of the first row seen while running

    def read(self, last: bool) -> JobProgress:
        """The job's present progress; the previous one if its record cannot be read now."""
        with suppress(OSError, RecordUnreadable, KeyError, TypeError, ValueError):
            self._progress = self._read(last)
        return self._progress

    def _read(self, last: bool) -> JobProgress:
        stored = self.record.status
        waiting = JobProgress(label=self._progress.label, message="waiting")
        if stored is None:
            return waiting
        status = Status(stored["status"])
        earlier = bool(stored["finished"]) and stored["finished"] < self._began
        problem = self._damage(stored) if earlier and status is Status.DONE else None
        if earlier and (status is not Status.DONE or problem) and not last:
            return waiting  # the status is that of an earlier attempt; the new one is about to start
        if stored["started"] != self._attempt:
            self._attempt, self._latest, self._first = stored["started"], {}, None
        if self._started is None and stored["started"] >= self._began:
            self._started = stored["started"]
        if self._steps is None:
            self._steps = (self.record.config or {}).get("steps")
        for row in self.record.recent_rows():
            self._latest.update({name: value for name, value in row.items() if value is not None})
        step = int(self._latest.get("step", 0))
        return JobProgress(
            label=self._progress.label,
            status=status,
            message=f"✗ {problem}" if problem else _message(stored, status, earlier),
            step=step,
            steps=self._steps,
            loss=self._latest.get("loss/train"),
            lambda_min=self._latest.get("ntk/lambda_min"),
            elapsed=_seconds_between(self._started or stored["started"], stored["finished"]),
            remaining=self._remaining(step),
        )

    def _damage(self, stored: dict[str, Any]) -> str | None:
        """What is damaged in the record; its files are read once per attempt."""
        if self._verified != stored["finished"]:
            self._verified, self._problem = stored["finished"], damage(self.record)
        return self._problem

    def _remaining(self, step: int) -> float | None:
        """Estimated seconds left, from the steps since the first row seen: preparation does not count."""
        if "step" not in self._latest or self._steps is None:
            return None
        now = time.monotonic()
        if self._first is None:
            self._first = (now, step)
        since, first_step = self._first
        return (now - since) / (step - first_step) * (self._steps - step) if step > first_step else None


class _Bars:
    """The display on a terminal: one progress bar per job, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def show(self, jobs: list[JobProgress]) -> None:
        if not self._live.is_started:
            self._live.start()
        self._live.update(self._rendering(_distinct_labels(jobs)), refresh=True)

    def close(self) -> None:
        self._live.stop()

    def _rendering(self, jobs: list[JobProgress]) -> Group:
        bars = Table.grid(padding=(0, 1))
        bars.add_column(max_width=self._console.width // 3)
        bars.add_column(width=max(6, self._console.width // 6))
        for _ in range(4):
            bars.add_column(no_wrap=True, justify="right")
        many = len(jobs) > MOST_BARS
        for job in jobs:
            if not many or job.status is Status.RUNNING:
                message = _one_line(job.message, _style(job))
                bars.add_row(_one_line(job.label), _bar(job), *job.numbers, job.timing, message)
        return Group(*([_whole(jobs)] if many else []), bars)


class _Lines:
    """The display without a terminal: a line per running job at intervals, and one when it ends."""

    def __init__(self, console: Console, line_seconds: float) -> None:
        self._console = console
        self._line_seconds = line_seconds
        # By job: the time of its last line, and whether the job had ended by then.
        self._printed: dict[str, tuple[float, bool]] = {}

    def show(self, jobs: list[JobProgress]) -> None:
        now = time.monotonic()
        for job in jobs:
            when, ended = self._printed.get(job.label, (-float("inf"), False))
            due = now - when >= self._line_seconds and job.status is Status.RUNNING
            if due or (job.ended and not ended):
                self._printed[job.label] = (now, job.ended)
                line = "  ".join(filter(None, [job.label, *job.numbers, job.timing, job.message]))
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        pass


def _display(console: Console, line_seconds: float) -> _Bars | _Lines:
    return _Bars(console) if console.is_terminal else _Lines(console, line_seconds)


def _message(status_json: dict[str, Any], status: Status, earlier: bool) -> str:
    if status is Status.RUNNING:
        return str(status_json["phase"]) or "preparing"
    if status is Status.DONE:
        return "✓ stored" if earlier else "✓ done"
    message = " ".join(status_json["message"].split())
    return f"✗ {status}: {message}" if message else f"✗ {status}"


def _style(job: JobProgress) -> str:
    if job.status is Status.DONE:
        return "green"
    return "red" if job.ended else "dim"


def _one_line(text: str, style: str = "") -> Text:
    # On a narrow terminal only these texts are shortened; the columns of numbers forbid wrapping.
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _bar(job: JobProgress) -> ProgressBar:
    return ProgressBar(total=job.steps or 1, completed=job.step, finished_style="green")


def _whole(jobs: list[JobProgress]) -> Table:
    ended = [job for job in jobs if job.ended]
    failed = sum(job.status is not Status.DONE for job in ended)
    row = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=len(jobs), completed=len(ended), width=30)
    row.add_row(f"{len(ended)}/{len(jobs)} jobs", bar, Text(f"{failed} failed" if failed else "", "red"))
    return row


def _seconds_between(started: str | None, finished: str | None) -> float:
    if started is None:
        return 0.0
    until = datetime.fromisoformat(finished or utc_now())
    return (until - datetime.fromisoformat(started)).total_seconds()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
