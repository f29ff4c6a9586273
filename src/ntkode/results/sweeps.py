"""The index that says which runs belong to a sweep."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ntkode.results.storage import parsable_objects, utc_now

SWEEPS = "sweeps"
"""The folder of the sweeps' indices and reports within the results folder; never a run."""

PAGE = "report"
"""The folder of the page over all sweeps within the results folder; never a run."""


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

    def add(self, run_id: str, job: str, number: int = 0, choices: Mapping[str, str] | None = None) -> None:
        """Say that `job` (its override string) is run `run_id`; several processes may do so at once.

        Args:
            run_id: the run.
            job: its overrides.
            number: its place in the sweep as typed; jobs that run side by side begin in any order.
            choices: by group, the names by which the job was asked for. They are no part of what a run is:
                a run that two experiments share stores those of the first, the index those of its own.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        entry: dict[str, Any] = {"run_id": run_id, "job": job, "number": number, "added": utc_now()}
        if choices is not None:
            entry["choices"] = dict(choices)
        line = json.dumps(entry) + "\n"
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

    def choices(self) -> dict[str, dict[str, str]]:
        """By run id, the choices by which this sweep last asked for the run; none in old indices."""
        told = {entry["run_id"]: entry.get("choices") for entry in self.entries()}
        return {run_id: choices for run_id, choices in told.items() if isinstance(choices, dict)}

    def entries(self, since: int = 0) -> list[dict[str, Any]]:
        """The lines of the index: `run_id`, `job`, `number`, `added`, `choices`; what is none is left out."""
        if not self._path.exists():
            return []
        entries = parsable_objects(self._path.read_bytes()[since:].splitlines())
        return [entry for entry in entries if {"run_id", "job", "number"} <= entry.keys()]
