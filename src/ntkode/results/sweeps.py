"""The index of a sweep, which lists its jobs and their runs."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ntkode.files import append_line, blank_lines, is_file_name
from ntkode.results.storage import parsable_objects, read_bytes, utc_now

SWEEPS = "sweeps"
"""The folder in the results folder for the sweeps' indices and reports; not a run."""

PAGE = "report"
"""The folder in the results folder for the page over all sweeps; not a run."""

DIGEST = "sha256"
"""The key of a line's digest, which `entries` omits."""

DIGITS = 16
"""Hexadecimal digits of a line's digest."""


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
        paths = [p for p in (Path(results_dir) / SWEEPS).glob("*/index.jsonl") if is_file_name(p.parent.name)]
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

        Raises:
            OSError: the line could not be written completely, and the index is as before.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        entry: dict[str, Any] = {"run_id": run_id, "job": job, "number": number, "added": utc_now()}
        if choices is not None:
            entry["choices"] = dict(choices)
        append_line(self._path, json.dumps(entry | {DIGEST: _digest(entry)}))

    def repair(self) -> list[str]:
        """Remove the lines that are not jobs, and an incomplete last line, which a power cut leaves.

        Returns:
            The removed lines, in words.

        Raises:
            OSError: the index cannot be written.
        """
        problems = self.problems()
        if problems:
            append_line(self._path, "")
            blank_lines(self._path, lambda line: _problem(_entry(line)) == "")
        return problems

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
        """The jobs in the index: `run_id`, `job`, `number`, `added`, `choices`; see `problems` for others."""
        return [entry for entry, problem in self._lines(since) if not problem]

    def problems(self) -> list[str]:
        """The lines of the index that are not jobs, in words."""
        return [problem for _, problem in self._lines() if problem]

    def _lines(self, since: int = 0) -> Iterator[tuple[dict[str, Any], str]]:
        """The entry in each line that is not blank; where there is none, why not."""
        content = read_bytes(self._path) or b""
        lines = content[since:].split(b"\n")
        for number, line in enumerate(lines, start=1):
            if line.strip():
                entry = _entry(line)
                problem = _problem(entry) if number < len(lines) else "its end is missing"
                where = f"{self._path}, line {number}, is not a job"
                yield entry, f"{where} ({problem}): {line[:60]!r}" if problem else ""


def _entry(line: bytes) -> dict[str, Any]:
    return next(parsable_objects([line]), {})


def _problem(entry: dict[str, Any]) -> str:
    """Why a line is not a job; empty if it is one. The digest, if there is one, is removed from the entry."""
    recorded = entry.pop(DIGEST, None)  # indices of earlier versions have none
    if not entry:
        return "not a JSON object"
    if recorded is not None and recorded != _digest(entry):
        return "its sha256 differs from the recorded one"
    run_id, number = entry.get("run_id"), entry.get("number")
    if not isinstance(run_id, str) or not is_file_name(run_id):
        return f"run_id={run_id!r} is not the name of a folder"
    if not isinstance(entry.get("job"), str) or not isinstance(number, int):
        return "it has no job or no number"
    choices = entry.get("choices")
    if choices is not None and not (isinstance(choices, dict) and all(map(_is_text, choices.values()))):
        return f"choices={choices!r} are not names by config group"
    return ""


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry).encode()).hexdigest()[:DIGITS]
