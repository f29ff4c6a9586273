"""Where each run's numbers come from: code, packages, machine and data, read from its record."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ntkode.report.formatting import MISSING
from ntkode.results import RecordUnreadable, RunRecord

DIGITS = 8
"""Of a digest, as shown."""


@dataclass(frozen=True)
class Origin:
    """One run's; what its record does not tell is an en dash.

    Attributes:
        run_id: the run.
        status: how it ended.
        commit: of git, cut, with `+` where files had changed since.
        sources: the digest of ntkode's code, cut.
        packages: versions by name, Python's and the platform among them.
        hardware: CPU and cores, or the GPU.
        threads: of torch.
        data: name, source and digest of the data.
        began: UTC, to the second.
        ended: the same; empty while it runs.
        command: what was typed.
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
    def told(self) -> str:
        """In one line, for a number's tooltip."""
        return f"{self.run_id} · {self.status} · commit {self.commit}, code {self.sources} · {self.hardware}"


@dataclass(frozen=True)
class Code:
    """A version of ntkode's code with its packages, and how many runs it computed."""

    letter: str
    commits: tuple[str, ...]
    sources: str
    packages: tuple[tuple[str, str], ...]
    runs: int
    like: str = ""  # the first version with the same packages, where that is another one


@dataclass(frozen=True)
class Origins:
    """Those of many runs together.

    Attributes:
        of: by run_id.
        codes: the versions, in the order in which runs were computed.
    """

    of: dict[str, Origin]
    codes: tuple[Code, ...] = field(default=())

    def letter(self, run_id: str) -> str:
        """The run's version of the code."""
        origin = self.of[run_id]
        key = origin.sources, origin.packages
        return next(code.letter for code in self.codes if (code.sources, code.packages) == key)

    def distinct(self, name: str, run_ids: Iterable[str]) -> list[str]:
        """The different values of an attribute among runs, the most frequent first; unknown ones left out."""
        told = [str(getattr(self.of[run_id], name)) for run_id in run_ids]
        known = dict.fromkeys(value for value in told if value not in ("", MISSING))
        return sorted(known, key=lambda value: -told.count(value))

    def dates(self, run_ids: Iterable[str]) -> str:
        """The days from the first to the last; empty where none is known."""
        days = sorted(day for run_id in run_ids if (day := self.of[run_id].began[:10]))
        if not days:
            return ""
        return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def origins_of(results_dir: Path, run_ids: Iterable[str]) -> Origins:
    """Reads the records; what is damaged in one is told as unknown."""
    found = {run_id: _origin(RunRecord.open(results_dir, run_id)) for run_id in run_ids}
    return Origins(found, tuple(_codes(sorted(found.values(), key=lambda origin: origin.began or "~"))))


def _origin(record: RunRecord) -> Origin:
    try:
        status, provenance = record.status or {}, record.provenance() or {}
    except RecordUnreadable:
        return Origin(record.run_id, "damaged")
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
    told = provenance.get("hardware") or {}
    if not told:
        return MISSING
    if told.get("gpus"):  # those that the run computed on
        return ", ".join(dict.fromkeys(map(str, told["gpus"])))
    return f"{told.get('cpu', MISSING)}, {told.get('cores', MISSING)} cores"


def _data(told: dict[str, Any]) -> str:
    digest = str(told.get("sha256") or "")[:DIGITS]
    return ", ".join(filter(None, [told.get("name"), told.get("source"), digest])) or MISSING


def _second(moment: str | None) -> str:
    """`2026-11-25 13:07:26` of an ISO moment in UTC."""
    return (moment or "")[:19].replace("T", " ")


def _codes(origins: Sequence[Origin]) -> Iterable[Code]:
    keys = dict.fromkeys((origin.sources, origin.packages) for origin in origins)
    first: dict[tuple[tuple[str, str], ...], str] = {}
    for number, key in enumerate(keys):
        own = [origin for origin in origins if (origin.sources, origin.packages) == key]
        commits = tuple(dict.fromkeys(origin.commit for origin in own if origin.commit != MISSING))
        letter = _letter(number)
        like = first.setdefault(key[1], letter)
        yield Code(letter, commits, *key, len(own), "" if like == letter else like)


def _letter(number: int) -> str:
    """A, B, …, Z, AA, AB and so on."""
    before, last = divmod(number, 26)
    return (_letter(before - 1) if before else "") + chr(ord("A") + last)
