"""The evidence for advice: numbers from stored runs, with their provenance.

`make evidence` runs the sweeps of conf/experiment/advice; benchmarks/advice_evidence.py condenses them into
`advice_data.json`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

PACKAGED = Path(__file__).with_name("advice_data.json")


class EvidenceUnreadable(ValueError):
    """The file cannot be read as advice data."""


@dataclass(frozen=True)
class StoredError:
    """Relative error of the training gradient against the ODE's gradient, for one solver and gradient method.

    Attributes:
        activation: φ with its settings.
        gamma: σ_w·T.
        dataset: data set of the runs.
        solver: a fixed-step method.
        gradient: the gradient method, as in conf/gradient.
        steps: number of solver steps.
        error: the largest error over all runs (all widths and samples), before and after training.
        evaluations: number of vector-field evaluations in the forward solve.
        runs: number of runs.
    """

    activation: str
    gamma: float
    dataset: str
    solver: str
    gradient: str
    steps: int
    error: float
    evaluations: float
    runs: int


@dataclass(frozen=True)
class Tolerated:
    """The gradient error up to which training reaches the same loss.

    Attributes:
        activation: φ with its settings.
        dataset: data set of the runs.
        change: allowed relative change of the final exact loss.
        enough: the largest gradient error up to which no run exceeds `change`; NaN if there is none.
        too_much: the next larger measured error; NaN if no error was too large.
        runs: number of runs.
    """

    activation: str
    dataset: str
    change: float
    enough: float
    too_much: float
    runs: int


@dataclass(frozen=True)
class RelativeCost:
    """Time of a gradient method relative to backprop with the same solver and steps (docs/perf).

    Attributes:
        gradient: the gradient method.
        seconds: ratio of times, the largest over the measured problems.
        problems: number of measured problems.
    """

    gradient: str
    seconds: float
    problems: int


@dataclass(frozen=True)
class RunSource:
    """Runs of one study and data set, computed by one version of the code.

    Attributes:
        study: the study of the runs.
        dataset: the data set of the runs.
        commit: git commit.
        dirty: whether the working tree had uncommitted changes.
        sources_sha256: digest of ntkode's sources.
        runs: number of runs.
    """

    study: str
    dataset: str
    commit: str | None
    dirty: bool | None
    sources_sha256: str | None
    runs: int


@dataclass(frozen=True)
class AdviceData:
    """The data behind advice: gradient errors, tolerated errors, relative costs, and their runs."""

    gradient: list[StoredError] = field(default_factory=list)
    tolerated: list[Tolerated] = field(default_factory=list)
    costs: list[RelativeCost] = field(default_factory=list)
    sources: list[RunSource] = field(default_factory=list)

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets of the runs, sorted."""
        return sorted({source.dataset for source in self.sources})

    @classmethod
    def read(cls, path: Path = PACKAGED) -> Self:
        """The evidence stored at `path`.

        Raises:
            EvidenceUnreadable: the file is missing or corrupt.
        """
        try:
            stored = json.loads(path.read_text())
            return cls(
                gradient=[StoredError(**row) for row in stored["gradient"]],
                tolerated=[Tolerated(**row) for row in stored["tolerated"]],
                costs=[RelativeCost(**row) for row in stored["costs"]],
                sources=[RunSource(**row) for row in stored["sources"]],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvidenceUnreadable(
                f"evidence={path} cannot be read ({type(error).__name__}: {error}): write it with "
                "python benchmarks/advice_evidence.py, or leave it out to use the packaged evidence"
            ) from error

    def plain(self) -> dict[str, Any]:
        """The data as lists and dicts, as stored in JSON."""
        return asdict(self)

    def joined(self, other: AdviceData) -> AdviceData:
        """The union of both; of two rows for the same setting, the one from more runs (`other` in a tie)."""
        parts = {
            part.name: _joined(getattr(self, part.name), getattr(other, part.name)) for part in fields(self)
        }
        return AdviceData(**parts)


def _joined(first: list[Any], second: list[Any]) -> list[Any]:
    rows = {_key(row): row for row in first}
    for row in second:
        known = rows.get(_key(row))
        if known is None or _size(row) >= _size(known):
            rows[_key(row)] = row
    return list(rows.values())


_NAMES = (
    "activation",
    "gamma",
    "dataset",
    "solver",
    "gradient",
    "steps",
    "change",
    "study",
    "commit",
    "sources_sha256",
)


def _key(row: Any) -> tuple[Any, ...]:
    return tuple(getattr(row, name, None) for name in _NAMES)


def _size(row: Any) -> int:
    return int(row.problems if isinstance(row, RelativeCost) else row.runs)
