"""The record of a run on disk.

A run's folder `<results_dir>/<run_id>/` holds `config.yaml`, `config.json`, `status.json`, `history.jsonl`,
`summary.json`, `provenance.json`, `log.txt` and, until it is done, `checkpoints/`. JSON files, YAML files and
checkpoints are written atomically; the history grows by at least one line per step.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

import yaml

from ntkode.files import NotRegular, open_regular, remove_asides, remove_folder, remove_link, write_atomically
from ntkode.results.integrity import HISTORY, measures
from ntkode.results.lock import run_lock
from ntkode.results.secrets import masked, masked_text
from ntkode.results.status import Status, read_status, write_status
from ntkode.results.storage import (
    RecordUnreadable,
    parsable_objects,
    parse_rows,
    read_bytes,
    read_json,
    to_json,
    utc_now,
    whole_lines,
)

TAIL_BYTES = 32 * 1024
"""Bytes at the end of a history that `recent_rows` reads: some dozens of rows."""


class RunRecord:
    """The record of one run: a folder that one process writes (see `lock`) and any process may read.

    Attributes:
        directory: the run's folder; created by `begin` and `lock`, not by reading.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        self._history_file: IO[str] | None = None
        self._remarks: list[str] = []

    @classmethod
    def open(cls, results_dir: Path | str, run_id: str) -> Self:
        """The record of `run_id` in `results_dir`; nothing need be stored yet."""
        return cls(Path(results_dir) / run_id)

    @property
    def run_id(self) -> str:
        """The run's id, which is the name of its folder."""
        return self.directory.name

    @property
    def log_path(self) -> Path:
        """The file of the run's output (`log.txt`)."""
        return self.directory / "log.txt"

    @property
    def checkpoints_dir(self) -> Path:
        """The folder of the run's checkpoints (`checkpoints/`)."""
        return self.directory / "checkpoints"

    @property
    def checkpoints(self) -> list[Path]:
        """The stored checkpoints, the newest first; their names sort by step. Links are not among them."""
        if self.checkpoints_dir.is_symlink():
            return []
        found = self.checkpoints_dir.glob("*.ckpt")
        return sorted((path for path in found if not path.is_symlink()), reverse=True)

    # -- reading

    @property
    def status(self) -> dict[str, Any] | None:
        """`status.json`: status, message, remedy, phase, started, finished (UTC); None before `begin`.

        A run that has ended has `files`, the sizes and digests of its other files (see `finish`).

        Raises:
            RecordUnreadable: the file is corrupt, or has an unknown status.
        """
        return read_status(f"{self.directory}/status.json")

    @property
    def standing(self) -> Status | None:
        """The status in `status.json`; None before `begin`.

        Raises:
            RecordUnreadable: the file is corrupt, or has an unknown status.
        """
        stored = self.status
        return None if stored is None else Status(stored["status"])

    @property
    def kills(self) -> int:
        """How often the run's process was killed since the run was begun or resumed on request.

        0 if `status.json` is corrupt.
        """
        stored = self._earlier_status().get("kills")
        return stored if isinstance(stored, int) else 0

    @property
    def config(self) -> dict[str, Any] | None:
        """`config.json`: the resolved config; None before `begin`."""
        return read_json(self.directory / "config.json")

    def summary(self) -> dict[str, Any] | None:
        """The content of `summary.json`; None if it does not exist."""
        return read_json(self.directory / "summary.json")

    def provenance(self) -> dict[str, Any] | None:
        """The content of `provenance.json`; None if it does not exist."""
        return read_json(self.directory / "provenance.json")

    def history(self) -> list[dict[str, Any]]:
        """All complete rows of the history; an incomplete last line is left out.

        Raises:
            RecordUnreadable: a complete line is not a row.
        """
        return parse_rows(whole_lines(self._history_path), str(self._history_path))

    def recent_rows(self) -> list[dict[str, Any]]:
        """The last rows of the history (some dozens), oldest first, read in constant time."""
        return list(parsable_objects(whole_lines(self._history_path, tail_bytes=TAIL_BYTES)))

    def last_row(self) -> dict[str, Any] | None:
        """The last row of the history; None if it has none."""
        rows = self.recent_rows()
        return rows[-1] if rows else None

    # -- writing

    def begin(self, config: Mapping[str, Any], kills: int = 0) -> None:
        """Start a new record: delete an earlier attempt, store the config, set the status to running.

        Args:
            config: the resolved config.
            kills: how often the run's process was killed before.
        """
        self._close_history()
        # First, so that a record without numbers never has the status done.
        self._write_status(Status.RUNNING, started=utc_now(), kills=kills)
        remove_folder(self.checkpoints_dir)
        for leftover in (
            self._history_path,
            self.directory / "summary.json",
            self.directory / "provenance.json",
        ):
            leftover.unlink(missing_ok=True)
        remove_link(self.log_path)
        if self.log_path.exists():  # truncated, not deleted: the run may already have opened it
            os.truncate(self.log_path, 0)
        remove_asides(self.directory)
        self.store_config(config)

    def resume(self, config: Mapping[str, Any], kills: int = 0) -> None:
        """Continue an earlier attempt: its status and summary are discarded, all else is kept.

        Args:
            config: the resolved config.
            kills: how often the run's process was killed before.
        """
        self._close_history()
        started = self._earlier_status().get("started") or utc_now()
        self._write_status(Status.RUNNING, phase="resuming", started=started, kills=kills)
        (self.directory / "summary.json").unlink(missing_ok=True)
        for directory in (self.directory, self.checkpoints_dir):
            remove_asides(directory)
        self.store_config(config)  # keys that do not determine the numbers may have changed

    def store_config(self, config: Mapping[str, Any]) -> None:
        """Write `config.yaml` and `config.json`, with secrets masked."""
        config = masked(config)
        # config.json last: readers treat its presence as the sign of a complete record.
        write_atomically(
            self.directory / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        )
        self._write_json("config.json", config)

    def set_phase(self, text: str) -> None:
        """Set the status to running, with a text for the monitor that names the present phase."""
        before = self._earlier_status()
        started = before.get("started") or utc_now()
        self._write_status(Status.RUNNING, phase=text, started=started, kills=before.get("kills", 0))

    def finish(
        self, status: Status | str, message: str = "", remedy: str = "", kills: int | None = None
    ) -> None:
        """Record how the run ended, with the sizes and digests of its files; a done run keeps no checkpoints.

        All files are on the disk (fsync) before the status is written, whose key `files` holds, by file
        name, `size` in bytes, `sha256` and, for the history, the number of `rows`.

        Args:
            status: how the run ended.
            message: what happened; the texts of `remark` precede it.
            remedy: the override to try.
            kills: how often the run's process was killed; None: as before.

        Raises:
            ValueError: an unknown status.
        """
        status = Status(status)
        self._close_history()
        before = self._earlier_status()
        self._write_status(
            status,
            message="; ".join(filter(None, [*self._remarks, message])),
            remedy=remedy,
            phase=before.get("phase", ""),
            started=before.get("started"),
            finished=utc_now(),
            kills=before.get("kills", 0) if kills is None else kills,
            files=measures(self.directory),
        )
        if status is Status.DONE:
            remove_folder(self.checkpoints_dir)

    def remark(self, text: str) -> None:
        """Print a text to the log, and add it to the message with which this attempt ends."""
        print(text, flush=True)
        self._remarks.append(text)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row to the history and flush it.

        Args:
            row: `step` and metrics by name; numpy and torch scalars become Python numbers, NaN and ±inf are
                stored as JSON's customary `NaN` and `Infinity`.

        Raises:
            ValueError: the row has no `step`.
        """
        if "step" not in row:
            raise ValueError(f"a history row needs its 'step'; got {sorted(row)}")
        if self._history_file is None:
            self._history_file = _open_for_rows(self._history_path)
        self._history_file.write(to_json(row))
        self._history_file.flush()

    def sync_history(self) -> int:
        """Write the history to disk (fsync), and return its size in bytes."""
        if self._history_file is None:
            self._history_file = _open_for_rows(self._history_path)
        os.fsync(self._history_file.fileno())
        return os.fstat(self._history_file.fileno()).st_size

    def has_rows_up_to(self, size: int) -> bool:
        """Whether the first `size` bytes of the history exist and are complete rows."""
        try:
            with open_regular(self._history_path) as file:
                lines = file.read(size).split(b"\n")
        except (FileNotFoundError, NotRegular):
            lines = [b""]
        rows = list(parsable_objects(lines[:-1]))
        return lines[-1] == b"" and len(rows) == len(lines) - 1 and sum(map(len, lines)) + len(rows) == size

    def history_digest(self, size: int) -> str:
        """The sha256 of the first `size` bytes of the history."""
        return hashlib.sha256((read_bytes(self._history_path) or b"")[:size]).hexdigest()

    def cut_history(self, size: int) -> None:
        """Cut the history back to its first `size` bytes (see `sync_history`)."""
        self._close_history()
        if self._history_path.exists():
            with open_regular(self._history_path, "r+b") as file:
                file.truncate(size)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Store `summary.json` (see `summarise`)."""
        self._write_json("summary.json", summary)

    def write_provenance(self, provenance: Mapping[str, Any]) -> None:
        """Store `provenance.json` (see `ntkode.results.provenance`), with secrets masked."""
        self._write_json("provenance.json", masked(provenance))

    @contextmanager
    def lock(self, patience: float = 0.0) -> Iterator[None]:
        """Hold the run's lock during the `with` block; the system releases the lock of a process that dies.

        Args:
            patience: seconds to wait for another process to release the lock.

        Raises:
            RunLocked: another process holds the lock; the message names it.
            NotRegular: the run's folder is a link, which may lead out of the results folder.
        """
        if self.directory.is_symlink():
            raise NotRegular(f"{self.directory} is a link: replace it by the folder that it leads to")
        self.directory.mkdir(parents=True, exist_ok=True)
        with run_lock(self.directory, patience):
            yield

    @property
    def _history_path(self) -> Path:
        return self.directory / HISTORY

    def _earlier_status(self) -> dict[str, Any]:
        """The stored status; empty if there is none, or if it is corrupt and about to be replaced."""
        try:
            return self.status or {}
        except RecordUnreadable:
            return {}

    def _write_status(
        self,
        status: Status,
        *,
        message: str = "",
        remedy: str = "",
        phase: str = "",
        started: str | None = None,
        finished: str | None = None,
        kills: int = 0,
        files: Mapping[str, Any] | None = None,
    ) -> None:
        content: dict[str, Any] = {
            "status": status,
            "message": masked_text(message),
            "remedy": masked_text(remedy),
            "phase": phase,
        }
        content |= {"started": started, "finished": finished}
        content |= ({"kills": kills} if kills else {}) | ({} if files is None else {"files": files})
        write_status(self.directory / "status.json", content)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        write_atomically(self.directory / name, to_json(content, indent=1))

    def _close_history(self) -> None:
        if self._history_file is not None:
            with suppress(OSError):  # `append` has already raised it
                self._history_file.close()
            self._history_file = None


def _open_for_rows(path: Path) -> IO[str]:
    """Open a history for appending, without the incomplete last row of a killed process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_link(path)
    if path.exists():
        with open_regular(path, "r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
    return open_regular(path, "a")
