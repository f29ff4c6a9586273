"""Which runs to read: by status, and by the values of their configs."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ntkode.results.records import Status

Wanted = Mapping[str, Any]
"""Values by config key, such as `{"activation": "tanh", "model.width": [256, 512]}`: see `Selection.of`."""


@dataclass(frozen=True)
class Selection:
    """A filter of rows as `ntkode.results.load` makes them.

    Attributes:
        statuses: the statuses that pass; None: all.
        where: the values that pass, by config key.
    """

    statuses: frozenset[str] | None = None
    where: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, status: str | Collection[str] | None, where: Wanted | None) -> "Selection":
        """A selection from what a caller says.

        Args:
            status: one status or several, such as "done"; None: all.
            where: by config key the value to have, or a collection of those that will do. A key is dotted
                (`model.width`, `seed`), or a group of choices (`activation`).

        Raises:
            ValueError: there is no such status.
        """
        statuses = None
        if status is not None:
            statuses = frozenset([status] if isinstance(status, str) else status)
            unknown = sorted(statuses - set(Status))
            if unknown:
                raise ValueError(
                    f"status={','.join(unknown)} is none of {', '.join(Status)}, as in status=done"
                )
        return cls(statuses, {key: _several(value) for key, value in (where or {}).items()})

    def __bool__(self) -> bool:
        """Whether it may leave anything out."""
        return self.statuses is not None or bool(self.where)

    def __str__(self) -> str:
        told = [] if self.statuses is None else [f"status={','.join(sorted(self.statuses))}"]
        return " ".join(told + [f"{key}={','.join(map(str, values))}" for key, values in self.where.items()])

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether a row passes; one without a key that is asked for does not."""
        if self.statuses is not None and row["status"] not in self.statuses:
            return False
        return all(
            (column := _column(key, row)) is not None and row[column] in values
            for key, values in self.where.items()
        )

    def explain(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """Why none of `rows` passes: what they have in place of what is asked for.

        Raises:
            ValueError: a key that no row has.
        """
        rows = list(rows)
        told = []
        if self.statuses is not None:
            told.append(f"status is {_listed(row['status'] for row in rows)}")
        for key in self.where:
            found = [row[column] for row in rows if (column := _column(key, row)) is not None]
            if rows and not found:
                raise ValueError(f"no run's config has the key {key}{_nearest(key, rows)}")
            told.append(f"{key} is {_listed(found)}")
        return f"none of {len(rows)} runs has {self}; there, {'; '.join(told)}"


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _column(key: str, row: Mapping[str, Any]) -> str | None:
    """The column of a config key; a group's name stands for what was chosen from it."""
    key = key.removeprefix("config.")
    return next((name for name in (f"config.{key}", f"config.choices.{key}") if name in row), None)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values})) or "nothing"


def _nearest(key: str, rows: Iterable[Mapping[str, Any]]) -> str:
    names = {name.removeprefix("config.").removeprefix("choices.") for row in rows for name in row}
    similar = difflib.get_close_matches(key, sorted(names), n=1)
    return f" (did you mean {similar[0]}?)" if similar else ""
