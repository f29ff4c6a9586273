"""The index that says which runs belong to a sweep."""

import json
import os
from pathlib import Path
from typing import Any

from ntkode.results.storage import parsable_objects, utc_now

SWEEPS = "sweeps"
"""The folder of the sweeps' indices and reports within the results folder; never a run."""


class SweepIndex:
    """Which run each job of a sweep is: `<results_dir>/sweeps/<sweep>/index.jsonl`, a line a job.

    Attributes:
        directory: the sweep's folder, where its report goes too.
    """

    def __init__(self, results_dir: Path | str, sweep: str) -> None:
        if not sweep or sweep.startswith(".") or "/" in sweep or "\\" in sweep:
            raise ValueError(f"sweep={sweep!r} cannot name a folder: use letters, digits and . _ + -")
        self.directory = Path(results_dir) / SWEEPS / sweep
        self._path = self.directory / "index.jsonl"

    @staticmethod
    def names(results_dir: Path | str) -> list[str]:
        """The stored sweeps, the most recently changed index first."""
        paths = list((Path(results_dir) / SWEEPS).glob("*/index.jsonl"))
        return [
            path.parent.name for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)
        ]

    @staticmethod
    def newest(results_dir: Path | str) -> str | None:
        """The sweep whose index changed last; None where there is none."""
        return next(iter(SweepIndex.names(results_dir)), None)

    def add(self, run_id: str, job: str, number: int = 0) -> None:
        """Say that `job` (its override string) is run `run_id`; several processes may do so at once.

        Args:
            run_id: the run.
            job: its overrides.
            number: its place in the sweep as typed; jobs that run side by side begin in any order.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"run_id": run_id, "job": job, "number": number, "added": utc_now()}) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(descriptor, line.encode())  # one write: lines of other processes never mix with it
        finally:
            os.close(descriptor)

    def size(self) -> int:
        """Bytes written so far: what `runs` takes to tell only what is added from now on."""
        return self._path.stat().st_size if self._path.exists() else 0

    def runs(self, since: int = 0) -> dict[str, str]:
        """Run ids by job, by number and then in the order in which they first appeared.

        A job's last run counts.

        Args:
            since: leave out what was written before the index had this `size`.
        """
        last = {entry["job"]: entry for entry in self.entries(since)}
        return {
            job: entry["run_id"] for job, entry in sorted(last.items(), key=lambda item: item[1]["number"])
        }

    def entries(self, since: int = 0) -> list[dict[str, Any]]:
        """The lines of the index: `run_id`, `job`, `number`, `added`; what is none is left out."""
        if not self._path.exists():
            return []
        entries = parsable_objects(self._path.read_bytes()[since:].splitlines())
        return [entry for entry in entries if {"run_id", "job", "number"} <= entry.keys()]
