"""Upload what runs have logged to W&B offline, once each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ntkode.results import NoResults, RunRecord, Status, SweepIndex
from ntkode.results.load import run_ids_of
from ntkode.tracking.wandb_server import ServerUnavailable, check_key, check_server, server_url

AT_ONCE = 100
"""Runs that one `wandb sync` is given: each takes a second to start, and a command line has an end."""
POLL = 0.1
OUTPUT = "output.txt"
STALL = 30.0
"""Seconds without a run sent, after which the server is asked whether it is still there."""


@dataclass
class Offline:
    """What the runs of a sweep hold for W&B.

    Attributes:
        waiting: offline files that have not been sent.
        sent: those that have.
        running: runs that are still writing theirs, or were when their machine stopped.
        without: runs that logged nothing to W&B offline.
    """

    waiting: list[Path] = field(default_factory=list)
    sent: list[Path] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = [f"{len(self.waiting)} to send"]
        for count, what in (
            (len(self.sent), "sent earlier"),
            (len(self.running), "still running: left for later"),
            (len(self.without), "with no offline W&B files (another logger, or logger.mode=online)"),
        ):
            told += [f"{count} {what}"] if count else []
        return ", ".join(told)


@dataclass
class Upload:
    """How an upload went: the files sent, those that were not, and what W&B said."""

    sent: list[Path]
    failed: list[Path]
    told: str


def offline_files(results_dir: Path | str, sweep: str | None = None) -> Offline:
    """The offline files of a sweep's runs; of the newest sweep by default.

    Raises:
        NoResults: there is no such sweep, or none at all.
    """
    sweep = sweep or SweepIndex.newest(results_dir)
    if sweep is None:
        raise NoResults(f"no sweep is stored in {str(results_dir)!r}; make one first: make run")
    found = Offline()
    for run_id in run_ids_of(Path(results_dir), sweep):
        record = RunRecord.open(results_dir, run_id)
        if (record.status or {}).get("status") == Status.RUNNING:
            found.running.append(run_id)
            continue
        files = sorted(record.directory.glob("wandb/offline-run-*/*.wandb"))
        for path in files:
            (found.sent if _marker(path).exists() else found.waiting).append(path)
        if not files:
            found.without.append(run_id)
    return found


def upload(files: Sequence[Path], console: Console, *, entity: str | None = None) -> Upload:
    """Send offline files, with a progress bar; W&B marks what has arrived, which is then never sent again.

    Args:
        files: what to send.
        console: where the progress goes.
        entity: W&B user or team; what the run was logged with, or the account's default, unless given.

    Raises:
        ServerUnavailable: there is no key, or no server within seconds, at the start or on the way; what has
            arrived by then is marked.
    """
    url = server_url()
    check_key(url)
    check_server(url)
    told = []
    columns = (TextColumn("uploading to W&B"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(files))
        for start in range(0, len(files), AT_ONCE):
            part = files[start : start + AT_ONCE]
            with _sending(part, entity) as (process, output):
                for done in _arrivals(process, part, url):
                    progress.update(bar, completed=start + done)
                told.append(output.read_text(errors="replace"))
                _unmark(part, told[-1])
    failed = [path for path in files if not _marker(path).exists()]
    return Upload([path for path in files if path not in failed], failed, "".join(told))


def send(files: Sequence[Path], entity: str | None, folder: Path) -> subprocess.Popen[bytes]:
    """Start `wandb sync`, the one call that sends; what it prints goes to `OUTPUT` in `folder`."""
    chosen = [] if entity is None else ["--entity", entity]
    command = [sys.executable, "-m", "wandb", "sync", *chosen, *map(str, files)]
    environment = os.environ | {"WANDB_DIR": str(folder)}  # its logs: not where the user happens to be
    environment.pop("WANDB_SILENT", None)
    with (folder / OUTPUT).open("wb") as output:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )


@contextmanager
def _sending(files: Sequence[Path], entity: str | None) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    with tempfile.TemporaryDirectory(prefix="ntkode-sync-") as folder:
        process = send(files, entity, Path(folder))
        try:
            yield process, Path(folder) / OUTPUT
        finally:
            process.terminate()
            process.wait()


def _arrivals(process: subprocess.Popen[bytes], files: Sequence[Path], url: str) -> Iterator[int]:
    """How many of `files` have arrived, until the process has ended.

    Raises:
        ServerUnavailable: nothing arrives, and the server does not answer: W&B would try on for hours.
    """
    arrived, since = 0, time.monotonic()
    running = True
    while running:
        running = process.poll() is None
        now = sum(_marker(path).exists() for path in files)
        if now > arrived:
            arrived, since = now, time.monotonic()
        elif time.monotonic() - since > STALL:
            check_server(url)
            since = time.monotonic()
        yield arrived
        if running:
            time.sleep(POLL)


def _unmark(files: Iterable[Path], told: str) -> None:
    """Take the mark off files of which W&B tells an error: it marks even what the server has refused."""
    for path in files:
        run_id = path.stem.removeprefix("run-")
        if re.search(rf"ERROR \[\S*/{re.escape(run_id)}\]", told):
            _marker(path).unlink(missing_ok=True)
            path.with_suffix(".wandb.syncstate").unlink(missing_ok=True)  # how far it believes to have come


def _marker(path: Path) -> Path:
    """What W&B puts beside a file that it has sent."""
    return path.with_suffix(".wandb.synced")


__all__ = ["Offline", "ServerUnavailable", "Upload", "offline_files", "send", "upload"]
