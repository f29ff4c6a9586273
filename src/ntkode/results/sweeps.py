"""The index of a sweep, which lists its jobs and their runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ntkode.files import is_file_name, open_regular
from ntkode.results.storage import parsable_objects, read_bytes, utc_now

SWEEPS = "sweeps"
"""The folder in the results folder for the sweeps' indices and reports; not a run."""

PAGE = "report"
"""The folder in the results folder for the page over all sweeps; not a run."""


class SweepIndex:
    """The runs of the jobs of a sweep: `<results_dir>/sweeps/<sweep>/index.jsonl`, one line per job.

    Attributes:
        directory: the sweep's folder, which also holds its report.

    Raises:
        ValueError: the sweep's name is not a valid folder name.
    """

    def __init__(self, results_dir: Path | str, sweep: str) -> None:
        if not is_file_name(sweep):
            raise ValueError(
                f"sweep={sweep!r} cannot name a folder: use at most 255 letters, digits and . _ + -"
            )
        self.directory = Path(results_dir) / SWEEPS / sweep
        self._path = self.directory / "index.jsonl"

    @staticmethod
    def names(results_dir: Path | str) -> list[str]:
        """The names of the stored sweeps, the most recently changed index first."""
        paths = list((Path(results_dir) / SWEEPS).glob("*/index.jsonl"))
        return [
            path.parent.name for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)
        ]

    @staticmethod
    def newest(results_dir: Path | str) -> str | None:
        """The name of the sweep whose index changed last; None without sweeps."""
        return next(iter(SweepIndex.names(results_dir)), None)

    def add(self, run_id: str, job: str, number: int = 0, choices: Mapping[str, str] | None = None) -> None:
        """Add a job and its run to the index; several processes may do so at the same time.

        Args:
            run_id: the run's id.
            job: the job's overrides.
            number: the job's position in the sweep; parallel jobs start in any order.
            choices: by config group, the names selected by the job. They do not determine the run: if two
                experiments share a run, its record stores the choices of the first, each index those of its
                sweep.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        entry: dict[str, Any] = {"run_id": run_id, "job": job, "number": number, "added": utc_now()}
        if choices is not None:
            entry["choices"] = dict(choices)
        line = json.dumps(entry) + "\n"
        with open_regular(self._path, "ab") as file:
            file.write(line.encode())  # a single write: lines of several processes do not mix

    def size(self) -> int:
        """The size of the index in bytes; `runs(since=size)` gives only the jobs that are added later."""
        return self._path.stat().st_size if self._path.exists() else 0

    def runs(self, since: int = 0) -> dict[str, str]:
        """The run ids by job, sorted by the jobs' numbers and then in order of first appearance.

        If a job appears several times, its last run counts.

        Args:
            since: omit jobs added before the index had this `size`.
        """
        last = {entry["job"]: entry for entry in self.entries(since)}
        return {
            job: entry["run_id"] for job, entry in sorted(last.items(), key=lambda item: item[1]["number"])
        }

    def choices(self) -> dict[str, dict[str, str]]:
        """By run id, the choices of the last job of this run; indices of older versions have none."""
        by_run = {entry["run_id"]: entry.get("choices") for entry in self.entries()}
        return {run_id: choices for run_id, choices in by_run.items() if isinstance(choices, dict)}

    def entries(self, since: int = 0) -> list[dict[str, Any]]:
        """The lines of the index: `run_id`, `job`, `number`, `added`, `choices`; without corrupt lines."""
        entries = parsable_objects((read_bytes(self._path) or b"")[since:].splitlines())
        jobs = (entry for entry in entries if {"run_id", "job", "number"} <= entry.keys())
        return [job for job in jobs if is_file_name(str(job["run_id"]))]  # no path that leads elsewhere
