"""How a sweep is getting on, watched by the main process while jobs run in processes of their own."""

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

from ntkode.report.formatting import three_digits
from ntkode.results import RecordUnreadable, RunRecord, Status, SweepIndex, utc_now

MOST_BARS = 12
"""With more jobs than this, only the running ones get a bar, beneath one for the whole."""


@dataclass(frozen=True)
class JobProgress:
    """What a job's record says at one moment."""

    label: str
    status: Status | None = None  # None: waiting to begin
    told: str = ""  # the phase of a running job, the end of an ended one
    step: int = 0
    steps: int | None = None
    loss: float | None = None
    lambda_min: float | None = None
    elapsed: float = 0.0
    remaining: float | None = None

    @property
    def ended(self) -> bool:
        """Whether no more is to come."""
        return self.status not in (None, Status.RUNNING)

    @property
    def numbers(self) -> list[str]:
        """Steps, loss and λ_min, as far as known."""
        return [
            "" if self.steps is None else f"{self.step}/{self.steps}",
            "" if self.loss is None else f"loss {three_digits(self.loss)}",
            "" if self.lambda_min is None else f"λ_min {three_digits(self.lambda_min)}",
        ]

    @property
    def timing(self) -> str:
        """Time so far, and an estimate of the time left."""
        left = "" if self.remaining is None or self.ended else f", {_clock(self.remaining)} left"
        return _clock(self.elapsed) + left


class SweepMonitor:
    """Shows a sweep's jobs while they run: bars on a terminal, else a line a job every few seconds.

    Use as a context manager around the sweep; showing begins with `watch`. Only runs that are added to the
    sweep's index from then on are shown. All is read from the records, so it does not matter which process
    runs which job, and a record that cannot be read just now is skipped.

    Args:
        results_dir: the results folder.
        console: where to show it.
        poll_seconds: time between two looks at the records.
        line_seconds: without a terminal, time between two lines of a job.
    """

    def __init__(
        self,
        results_dir: Path | str,
        console: Console | None = None,
        poll_seconds: float = 0.5,
        line_seconds: float = 5.0,
    ) -> None:
        self._results_dir = Path(results_dir)
        self._display = _display(console or Console(), line_seconds)
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
        """Begin to show the jobs that are added to `sweep` from now on."""
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
        except (OSError, KeyError):
            return
        for job, run_id in runs.items():
            if job not in self._readers or self._readers[job].record.run_id != run_id:
                record = RunRecord.open(self._results_dir, run_id)
                self._readers[job] = _JobReader(job, record, self._began)
        self._display.show([reader.read(last) for reader in self._readers.values()])


def _told_apart(jobs: list[JobProgress]) -> list[JobProgress]:
    """The jobs without the overrides that all of them share."""
    words = [job.label.split() for job in jobs]
    shared = set.intersection(*map(set, words)) if len(jobs) > 1 else set()
    labels = [" ".join(word for word in label if word not in shared) for label in words]
    return [replace(job, label=label or job.label) for job, label in zip(jobs, labels, strict=True)]


class _JobReader:
    """Reads the progress of one job; remembers what the newest rows no longer tell."""

    def __init__(self, job: str, record: RunRecord, began: str) -> None:
        self.record = record
        self._began = began
        self._progress = JobProgress(label=job or "defaults")
        self._attempt: str | None = None  # when the attempt began that the rest is about
        self._steps: int | None = None
        self._latest: dict[str, float] = {}
        self._first: tuple[float, int] | None = None  # (time, step) of the first row seen while running

    def read(self, last: bool) -> JobProgress:
        """The job's progress now; as it was at the last look where its record cannot be read."""
        with suppress(OSError, RecordUnreadable, KeyError, TypeError, ValueError):
            self._progress = self._read(last)
        return self._progress

    def _read(self, last: bool) -> JobProgress:
        told = self.record.status
        waiting = JobProgress(label=self._progress.label, told="waiting")
        if told is None:
            return waiting
        status = Status(told["status"])
        earlier = bool(told["finished"]) and told["finished"] < self._began
        if earlier and status is not Status.DONE and not last:
            return waiting  # how an earlier attempt ended; this one is about to begin
        if told["started"] != self._attempt:
            self._attempt, self._latest, self._first = told["started"], {}, None
        if self._steps is None:
            self._steps = (self.record.config or {}).get("steps")
        for row in self.record.recent_rows():
            self._latest.update({name: value for name, value in row.items() if value is not None})
        step = int(self._latest.get("step", 0))
        return JobProgress(
            label=self._progress.label,
            status=status,
            told=_told(told, status, earlier),
            step=step,
            steps=self._steps,
            loss=self._latest.get("loss/train"),
            lambda_min=self._latest.get("ntk/lambda_min"),
            elapsed=_seconds_between(told["started"], told["finished"]),
            remaining=self._remaining(step),
        )

    def _remaining(self, step: int) -> float | None:
        """Seconds left at the pace since the first row seen: what came before it was preparing."""
        if "step" not in self._latest or self._steps is None:
            return None
        now = time.monotonic()
        if self._first is None:
            self._first = (now, step)
        since, first_step = self._first
        return (now - since) / (step - first_step) * (self._steps - step) if step > first_step else None


class _Bars:
    """A bar a job, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def show(self, jobs: list[JobProgress]) -> None:
        if not self._live.is_started:
            self._live.start()
        self._live.update(self._drawing(_told_apart(jobs)), refresh=True)

    def close(self) -> None:
        self._live.stop()

    def _drawing(self, jobs: list[JobProgress]) -> Group:
        bars = Table.grid(padding=(0, 1))
        bars.add_column(max_width=self._console.width // 3)
        bars.add_column(width=max(6, self._console.width // 6))
        for _ in range(4):
            bars.add_column(no_wrap=True, justify="right")
        many = len(jobs) > MOST_BARS
        for job in jobs:
            if not many or job.status is Status.RUNNING:
                told = _one_line(job.told, _style(job))
                bars.add_row(_one_line(job.label), _bar(job), *job.numbers, job.timing, told)
        return Group(*([_whole(jobs)] if many else []), bars)


class _Lines:
    """A plain line a job every few seconds, and one when it ends."""

    def __init__(self, console: Console, line_seconds: float) -> None:
        self._console = console
        self._line_seconds = line_seconds
        # By job: when its last line came, and whether the job had ended by then.
        self._printed: dict[str, tuple[float, bool]] = {}

    def show(self, jobs: list[JobProgress]) -> None:
        now = time.monotonic()
        for job in jobs:
            when, ended = self._printed.get(job.label, (-float("inf"), False))
            due = now - when >= self._line_seconds and job.status is Status.RUNNING
            if due or (job.ended and not ended):
                self._printed[job.label] = (now, job.ended)
                line = "  ".join(filter(None, [job.label, *job.numbers, job.timing, job.told]))
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        pass


def _display(console: Console, line_seconds: float) -> _Bars | _Lines:
    return _Bars(console) if console.is_terminal else _Lines(console, line_seconds)


def _told(status_json: dict[str, Any], status: Status, earlier: bool) -> str:
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
    # Only these give way where the terminal is narrow, the numbers never: their columns forbid wrapping.
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
