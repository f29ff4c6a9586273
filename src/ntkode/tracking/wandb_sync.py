"""Upload of offline W&B runs, each once."""

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
"""Runs per call of `wandb sync`: a call takes a second to start, and a command line is limited in length."""
FILES = "wandb/offline-run-*/*.wandb"
POLL = 0.1  # seconds between two checks of an upload
OUTPUT = "output.txt"
STALL = 30.0
"""Seconds without a sent run, after which the server is checked again."""


@dataclass
class Offline:
    """The offline W&B files of a sweep.

    Attributes:
        waiting: offline files that have not been sent.
        sent: offline files that have been sent.
        running: ids of runs with status running, whose files may be incomplete.
        without: ids of runs without offline files.
    """

    waiting: list[Path] = field(default_factory=list)
    sent: list[Path] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = [f"{len(self.waiting)} to send"]
        for count, label in (
            (len(self.sent), "sent earlier"),
            (len(self.running), "still running: left for later"),
            (len(self.without), "with no offline W&B files (another logger, or logger.mode=online)"),
        ):
            counts += [f"{count} {label}"] if count else []
        return ", ".join(counts)


@dataclass
class Upload:
    """The outcome of an upload.

    Attributes:
        sent: the files that were sent.
        failed: the files that were not sent.
        output: what `wandb sync` printed.
    """

    sent: list[Path]
    failed: list[Path]
    output: str


def offline_files(results_dir: Path | str, sweep: str | None = None) -> Offline:
    """The offline files of a sweep's runs; of the newest sweep by default.

    Raises:
        NoResults: the sweep does not exist, or no sweep is stored.
    """
    sweep = sweep or SweepIndex.newest(results_dir)
    if sweep is None:
        raise NoResults(f"no sweep is stored in {str(results_dir)!r}; make one first: make run")
    offline = Offline()
    for run_id in run_ids_of(Path(results_dir), sweep):
        record = RunRecord.open(results_dir, run_id)
        if (record.status or {}).get("status") == Status.RUNNING:
            offline.running.append(run_id)
            continue
        files = sorted(path for path in record.directory.glob(FILES) if not _via_link(path, record.directory))
        for path in files:
            (offline.sent if _marker(path).exists() else offline.waiting).append(path)
        if not files:
            offline.without.append(run_id)
    return offline


def upload(files: Sequence[Path], console: Console, *, entity: str | None = None) -> Upload:
    """Send offline files, with a progress bar; W&B marks files that have arrived, so that each is sent once.

    Args:
        files: the offline files.
        console: prints the progress bar.
        entity: W&B user or team; None: that of the run, or the account's default.

    Raises:
        ServerUnavailable: there is no key, or the server does not answer, before or during the upload; files
            that have arrived by then are marked.
    """
    url = server_url()
    check_key(url)
    check_server(url)
    outputs = []
    columns = (TextColumn("uploading to W&B"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(files))
        for start in range(0, len(files), AT_ONCE):
            part = files[start : start + AT_ONCE]
            with _sending(part, entity) as (process, output):
                for done in _arrivals(process, part, url):
                    progress.update(bar, completed=start + done)
                outputs.append(output.read_text(errors="replace"))
                _unmark(part, outputs[-1])
    failed = [path for path in files if not _marker(path).exists()]
    return Upload([path for path in files if path not in failed], failed, "".join(outputs))


def send(files: Sequence[Path], entity: str | None, folder: Path) -> subprocess.Popen[bytes]:
    """Start `wandb sync` for some files, with its output in the file `OUTPUT` in `folder`."""
    target = [] if entity is None else ["--entity", entity]
    command = [sys.executable, "-m", "wandb", "sync", *target, *map(str, files)]
    environment = os.environ | {"WANDB_DIR": str(folder)}  # its logs do not go to the present folder
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
    """The number of `files` that have arrived, repeatedly until the process has ended.

    Raises:
        ServerUnavailable: no file arrives and the server does not answer; W&B would retry for hours.
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


def _unmark(files: Iterable[Path], output: str) -> None:
    """Delete the markers of files for which W&B printed an error: it also marks what the server refused."""
    for path in files:
        run_id = path.stem.removeprefix("run-")
        if re.search(rf"ERROR \[\S*/{re.escape(run_id)}\]", output):
            _marker(path).unlink(missing_ok=True)
            path.with_suffix(".wandb.syncstate").unlink(missing_ok=True)  # W&B's position in the upload


def _via_link(path: Path, above: Path) -> bool:
    """Whether `path`, or a folder between it and `above`, is a link; it may lead to a file of another run."""
    return any(part.is_symlink() for part in (path, *path.parents) if part.is_relative_to(above))


def _marker(path: Path) -> Path:
    """The marker that W&B puts next to a file that it has sent."""
    return path.with_suffix(".wandb.synced")


__all__ = ["Offline", "ServerUnavailable", "Upload", "offline_files", "send", "upload"]
