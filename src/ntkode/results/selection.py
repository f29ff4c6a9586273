"""Selection of runs by status and by the values of their configs."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ntkode.results.status import Status

Wanted = Mapping[str, Any]
"""Values by config key, such as `{"activation": "tanh", "model.width": [256, 512]}`: see `Selection.of`."""


@dataclass(frozen=True)
class Selection:
    """A filter for the rows of `ntkode.results.load`.

    Attributes:
        statuses: accepted statuses; None: all.
        where: accepted values by config key.
    """

    statuses: frozenset[str] | None = None
    where: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, status: str | Collection[str] | None, where: Wanted | None) -> "Selection":
        """The selection by the arguments of `ntkode.results.load`.

        Args:
            status: one status or several, such as "done"; None: all.
            where: by config key, the accepted value or a collection of accepted values. A key is dotted
                (`model.width`, `seed`), or the name of a config group (`activation`).

        Raises:
            ValueError: an unknown status.
        """
        statuses = None
        if status is not None:
            statuses = frozenset([status] if isinstance(status, str) else status)
            unknown = sorted(statuses - set(Status))
            if unknown:
                raise ValueError(
                    f"status={','.join(unknown)} is not one of {', '.join(Status)}, as in status=done"
                )
        return cls(statuses, {key: _several(value) for key, value in (where or {}).items()})

    def __bool__(self) -> bool:
        """Whether the selection has any condition."""
        return self.statuses is not None or bool(self.where)

    def __str__(self) -> str:
        texts = [] if self.statuses is None else [f"status={','.join(sorted(self.statuses))}"]
        return " ".join(texts + [f"{key}={','.join(map(str, values))}" for key, values in self.where.items()])

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether a row fits; a row without one of the keys does not."""
        if self.statuses is not None and row["status"] not in self.statuses:
            return False
        return all(
            (column := _column(key, row)) is not None and row[column] in values
            for key, values in self.where.items()
        )

    def explain(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """A message that says why none of `rows` fits, with the values that they have.

        Raises:
            ValueError: a config key that no row has.
        """
        rows = list(rows)
        present = []
        if self.statuses is not None:
            present.append(f"status is {_listed(row['status'] for row in rows)}")
        for key in self.where:
            values = [row[column] for row in rows if (column := _column(key, row)) is not None]
            if rows and not values:
                raise ValueError(f"no run's config has the key {key}{_nearest(key, rows)}")
            present.append(f"{key} is {_listed(values)}")
        return f"none of {len(rows)} runs has {self}; stored: {'; '.join(present)}"


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _column(key: str, row: Mapping[str, Any]) -> str | None:
    """The column of a config key, or of the choice from a config group; None if the row has neither."""
    key = key.removeprefix("config.")
    return next((name for name in (f"config.{key}", f"config.choices.{key}") if name in row), None)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values})) or "nothing"


def _nearest(key: str, rows: Iterable[Mapping[str, Any]]) -> str:
    names = {name.removeprefix("config.").removeprefix("choices.") for row in rows for name in row}
    similar = difflib.get_close_matches(key, sorted(names), n=1)
    return f" (did you mean {similar[0]}?)" if similar else ""
