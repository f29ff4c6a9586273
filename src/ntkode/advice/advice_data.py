"""What advice rests on: numbers of stored runs, with the runs that they come from.

`evidence.json` beside this file is made by `make evidence`: sweeps of conf/experiment/advice, condensed by
benchmarks/advice_evidence.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

PACKAGED = Path(__file__).with_name("advice_data.json")


class EvidenceUnreadable(ValueError):
    """The file holds no advice data, or other fields."""


@dataclass(frozen=True)
class StoredError:
    """Relative error of the training gradient against the ODE's, for one way of solving it.

    Attributes:
        activation: φ with its settings.
        gamma: σ_w·T.
        dataset: where it was measured.
        solver: a fixed-step method.
        gradient: the gradient method, as in conf/gradient.
        steps: of the solve.
        error: the largest over runs, of whatever width and samples, at the start and after training.
        evaluations: of the vector field in the forward solve.
        runs: how many.
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
    """How wrong a gradient may be before training notices.

    Attributes:
        activation: φ with its settings.
        dataset: where it was measured.
        change: of the final exact loss, relative.
        enough: the largest gradient error up to which no run changed it by more; NaN where none was so good.
        too_much: the next larger error; NaN where none was too large.
        runs: how many.
    """

    activation: str
    dataset: str
    change: float
    enough: float
    too_much: float
    runs: int


@dataclass(frozen=True)
class RelativeCost:
    """Time of a gradient method over that of backprop, same solver and steps (docs/perf).

    Attributes:
        gradient: the method.
        seconds: ratio of times, the largest of the problems measured.
        problems: how many.
    """

    gradient: str
    seconds: float
    problems: int


@dataclass(frozen=True)
class RunSource:
    """Runs of one state of the code.

    Attributes:
        study: what they computed.
        dataset: of what data.
        commit: git's.
        dirty: whether files had changed since.
        sources_sha256: digest of ntkode's sources.
        runs: how many.
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
        """The data sets that any of it was measured on."""
        return sorted({source.dataset for source in self.sources})

    @classmethod
    def read(cls, path: Path = PACKAGED) -> Self:
        """The evidence stored at `path`.

        Raises:
            EvidenceUnreadable: there is none, or it is damaged.
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
                f"evidence={path} cannot be read ({type(error).__name__}: {error}): make it by "
                "python benchmarks/advice_evidence.py, or leave it out for the package's own"
            ) from error

    def plain(self) -> dict[str, Any]:
        """Lists and dicts, as stored."""
        return asdict(self)

    def joined(self, other: AdviceData) -> AdviceData:
        """Both; where both measured the same, the one that rests on more runs, `other` in a tie."""
        parts = {
            part.name: _joined(getattr(self, part.name), getattr(other, part.name)) for part in fields(self)
        }
        return AdviceData(**parts)


def _joined(own: list[Any], others: list[Any]) -> list[Any]:
    rows = {_key(row): row for row in own}
    for row in others:
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
