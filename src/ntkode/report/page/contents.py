"""What the template shows of a section: plain text, places and links, no more to compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ntkode.report.claims.claims import Judgement
from ntkode.report.claims.verdicts import numbers
from ntkode.report.page.intervals import Glance, glance
from ntkode.report.page.origins import Origins
from ntkode.report.page.sections import Section
from ntkode.report.tables.rendering import missing, written

FEW = 12
"""Rows up to which a table of runs is shown unfolded."""
_TOLD_ELSEWHERE = ("message", "remedy")


@dataclass(frozen=True)
class Cell:
    """Text, and what to sort by."""

    text: str
    key: str
    run: str = ""  # the run that it names, if it names one


@dataclass(frozen=True)
class Shown:
    """A table of the page.

    Attributes:
        name: its files' name.
        columns: names, and whether each holds numbers.
        rows: of cells, with the tooltip that tells where the row comes from.
        folded: whether it is hidden until asked for.
    """

    name: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    folded: bool


@dataclass(frozen=True)
class ShownClaim:
    """A claim's row."""

    anchor: str
    verdict: str
    statement: str
    quantity: str
    source: str
    reason: str
    measured: str
    expected: str
    replicates: int
    glance: Glance | None


def claims_of(section: Section) -> list[ShownClaim]:
    """The claims of a section with their verdicts."""
    return [_claim(section.slug, judgement) for judgement in section.report.judgements]


def tables_of(section: Section, origins: Origins) -> list[Shown]:
    """The tables of a section but the one of verdicts, summaries before runs."""
    tables = [
        _table(name, table, origins)
        for name, table in section.report.tables.items()
        if not name.endswith("_verdicts")
    ]
    return sorted(tables, key=lambda table: "run_id" in dict(table.columns))


def claim_table(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """The claims as text, short enough for a page of LaTeX."""
    rows = [
        (
            told.claim.statement,
            numbers(told.evidence),
            told.evidence.replicates,
            str(told.claim.expectation),
            str(told.verdict),
        )
        for told in judgements
    ]
    return pd.DataFrame(rows, columns=["claim", "measured (95 % interval)", "n", "expected", "verdict"])


def _claim(slug: str, told: Judgement) -> ShownClaim:
    return ShownClaim(
        anchor=f"{slug}--{told.claim.name}",
        verdict=str(told.verdict),
        statement=told.claim.statement,
        quantity=told.claim.quantity,
        source=told.claim.source,
        reason=told.reason,
        measured=numbers(told.evidence),
        expected=str(told.claim.expectation),
        replicates=told.evidence.replicates,
        glance=glance(told),
    )


def _table(name: str, table: pd.DataFrame, origins: Origins) -> Shown:
    table = table.drop(columns=[column for column in _TOLD_ELSEWHERE if column in table])
    texts = written(table)
    columns = tuple((str(column), _numeric(table[column])) for column in table)
    run_ids = table["run_id"] if "run_id" in table else [""] * len(table)
    rows = []
    for place, run_id in enumerate(run_ids):
        cells = tuple(
            Cell(
                str(texts[column].iloc[place]),
                _key(table[column].iloc[place]),
                run_id if column == "run_id" else "",
            )
            for column in table
        )
        told = origins.of[run_id].told if run_id in origins.of else ""
        rows.append((told, cells))
    return Shown(name, columns, tuple(rows), folded="run_id" in table and len(table) > FEW)


def _numeric(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))


def _key(value: Any) -> str:
    """What sorts as the value does: its full precision, nothing where there is none."""
    return "" if missing(value) else repr(float(value)) if isinstance(value, float) else str(value)
