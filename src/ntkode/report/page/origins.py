"""The origin of each run: code, packages, machine and data, read from its record."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ntkode.report.formatting import MISSING
from ntkode.results import RecordUnreadable, RunRecord

DIGITS = 8
"""Printed length of a digest."""


@dataclass(frozen=True)
class Origin:
    """The origin of one run; an en dash marks an attribute that its record does not contain.

    Attributes:
        run_id: the id of the run.
        status: its status, see `ntkode.results.Status`.
        commit: the first digits of the git commit, with `+` if files had changed.
        sources: the first digits of the digest of ntkode's code.
        packages: (name, version) of the packages, Python and the platform.
        hardware: the GPUs of the run, or the CPU and its number of cores.
        threads: the number of torch's threads.
        data: name, source and digest of the data.
        began: start time in UTC, to the second.
        ended: end time in UTC; empty while it runs.
        command: the command line.
    """

    run_id: str
    status: str
    commit: str = MISSING
    sources: str = MISSING
    packages: tuple[tuple[str, str], ...] = ()
    hardware: str = MISSING
    threads: str = MISSING
    data: str = MISSING
    began: str = ""
    ended: str = ""
    command: str = ""

    @property
    def summary(self) -> str:
        """The origin in one line, for tooltips."""
        return f"{self.run_id} · {self.status} · commit {self.commit}, code {self.sources} · {self.hardware}"


@dataclass(frozen=True)
class Code:
    """A version of ntkode's code and of its packages, with the number of runs that it computed."""

    letter: str
    commits: tuple[str, ...]
    sources: str
    packages: tuple[tuple[str, str], ...]
    runs: int
    like: str = ""  # the letter of an earlier version with the same packages


@dataclass(frozen=True)
class Origins:
    """The origins of many runs.

    Attributes:
        of: the origin by run_id.
        codes: the versions of code and packages, in the order of their first runs.
    """

    of: dict[str, Origin]
    codes: tuple[Code, ...] = field(default=())

    def letter(self, run_id: str) -> str:
        """The letter of the version that computed the run."""
        origin = self.of[run_id]
        key = origin.sources, origin.packages
        return next(code.letter for code in self.codes if (code.sources, code.packages) == key)

    def distinct(self, name: str, run_ids: Iterable[str]) -> list[str]:
        """The distinct known values of an attribute among the runs, the most frequent first."""
        values = [str(getattr(self.of[run_id], name)) for run_id in run_ids]
        known = dict.fromkeys(value for value in values if value not in ("", MISSING))
        return sorted(known, key=lambda value: -values.count(value))

    def dates(self, run_ids: Iterable[str]) -> str:
        """The first and the last day of the runs, as text; empty if no day is known."""
        days = sorted(day for run_id in run_ids if (day := self.of[run_id].began[:10]))
        if not days:
            return ""
        return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def origins_of(results_dir: Path, run_ids: Iterable[str]) -> Origins:
    """The origins of the runs, read from their records; corrupt entries count as unknown."""
    by_id = {run_id: _origin(RunRecord.open(results_dir, run_id)) for run_id in run_ids}
    return Origins(by_id, tuple(_codes(sorted(by_id.values(), key=lambda origin: origin.began or "~"))))


def _origin(record: RunRecord) -> Origin:
    try:
        status, provenance = record.status or {}, record.provenance() or {}
    except RecordUnreadable:
        return Origin(record.run_id, "corrupt")
    git, sources = provenance.get("git") or {}, provenance.get("sources_sha256")
    commit = git.get("commit")
    packages = {name: str(version) for name, version in (provenance.get("packages") or {}).items()}
    for name in ("python", "platform"):
        if provenance.get(name):
            packages[name] = str(provenance[name])
    return Origin(
        run_id=record.run_id,
        status=str(status.get("status", MISSING)),
        commit=f"{commit[:DIGITS]}{'+' if git.get('dirty') else ''}" if commit else MISSING,
        sources=sources[:DIGITS] if sources else MISSING,
        packages=tuple(packages.items()),
        hardware=_hardware(provenance),
        threads=str(provenance.get("threads", MISSING)),
        data=_data(provenance.get("dataset") or {}),
        began=_second(status.get("started")),
        ended=_second(status.get("finished")),
        command=" ".join(map(str, provenance.get("command") or [])),
    )


def _hardware(provenance: dict[str, Any]) -> str:
    hardware = provenance.get("hardware") or {}
    if not hardware:
        return MISSING
    if hardware.get("gpus"):  # those that the run used
        return ", ".join(dict.fromkeys(map(str, hardware["gpus"])))
    return f"{hardware.get('cpu', MISSING)}, {hardware.get('cores', MISSING)} cores"


def _data(dataset: dict[str, Any]) -> str:
    digest = str(dataset.get("sha256") or "")[:DIGITS]
    return ", ".join(filter(None, [dataset.get("name"), dataset.get("source"), digest])) or MISSING


def _second(moment: str | None) -> str:
    """An ISO time in UTC as `2026-11-25 13:07:26`."""
    return (moment or "")[:19].replace("T", " ")


def _codes(origins: Sequence[Origin]) -> Iterable[Code]:
    keys = dict.fromkeys((origin.sources, origin.packages) for origin in origins)
    first: dict[tuple[tuple[str, str], ...], str] = {}
    for number, key in enumerate(keys):
        runs = [origin for origin in origins if (origin.sources, origin.packages) == key]
        commits = tuple(dict.fromkeys(origin.commit for origin in runs if origin.commit != MISSING))
        letter = _letter(number)
        like = first.setdefault(key[1], letter)
        yield Code(letter, commits, *key, len(runs), "" if like == letter else like)


def _letter(number: int) -> str:
    """The letters of version `number`: A, B, …, Z, AA and so on."""
    before, last = divmod(number, 26)
    return (_letter(before - 1) if before else "") + chr(ord("A") + last)
