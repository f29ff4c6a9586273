"""The contents of a section for the template: text, positions and links."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ntkode.report.claims.claims import Judgement
from ntkode.report.claims.verdicts import numbers
from ntkode.report.page.intervals import Glance, glance
from ntkode.report.page.origins import Origins
from ntkode.report.page.sections import Section
from ntkode.report.tables.rendering import as_text, missing

FEW = 12
"""Largest number of rows of a table of runs that is not folded."""
_AMONG_FAILURES = ("message", "remedy")


@dataclass(frozen=True)
class Cell:
    """One cell of an HTML table: its text, and the key to sort by."""

    text: str
    key: str
    run: str = ""  # the run_id to link to, if any


@dataclass(frozen=True)
class PageTable:
    """A table of the page.

    Attributes:
        name: stem of its files.
        columns: the name of each column and whether it contains numbers.
        rows: the tooltip (the run's origin) and the cells of each row.
        folded: whether it is collapsed at first.
    """

    name: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    folded: bool


@dataclass(frozen=True)
class ClaimRow:
    """A row of the table of claims: the texts of a judgement, its anchor and its interval."""

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


def claims_of(section: Section) -> list[ClaimRow]:
    """The claims of a section with their verdicts."""
    return [_claim(section.slug, judgement) for judgement in section.report.judgements]


def tables_of(section: Section, origins: Origins) -> list[PageTable]:
    """The tables of a section except its verdicts; tables of runs come last."""
    tables = [
        _table(name, table, origins)
        for name, table in section.report.tables.items()
        if not name.endswith("_verdicts")
    ]
    return sorted(tables, key=lambda table: "run_id" in dict(table.columns))


def claim_table(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """The claims as text, one row each, short enough for a page of LaTeX."""
    rows = [
        (
            judgement.claim.statement,
            numbers(judgement.estimate),
            judgement.estimate.replicates,
            str(judgement.claim.expectation),
            str(judgement.verdict),
        )
        for judgement in judgements
    ]
    return pd.DataFrame(rows, columns=["claim", "measured (95 % interval)", "n", "expected", "verdict"])


def _claim(slug: str, judgement: Judgement) -> ClaimRow:
    return ClaimRow(
        anchor=f"{slug}--{judgement.claim.name}",
        verdict=str(judgement.verdict),
        statement=judgement.claim.statement,
        quantity=judgement.claim.quantity,
        source=judgement.claim.source,
        reason=judgement.reason,
        measured=numbers(judgement.estimate),
        expected=str(judgement.claim.expectation),
        replicates=judgement.estimate.replicates,
        glance=glance(judgement),
    )


def _table(name: str, table: pd.DataFrame, origins: Origins) -> PageTable:
    table = table.drop(columns=[column for column in _AMONG_FAILURES if column in table])
    texts = as_text(table)
    columns = tuple((str(column), _numeric(table[column])) for column in table)
    run_ids = table["run_id"].tolist() if "run_id" in table else [""] * len(table)
    cells = [
        [
            Cell(str(text), _key(value), run_id if column == "run_id" else "")
            for text, value, run_id in zip(texts[column], table[column], run_ids, strict=True)
        ]
        for column in table
    ]
    tooltips = [origins.of[run_id].summary if run_id in origins.of else "" for run_id in run_ids]
    rows = list(zip(tooltips, zip(*cells, strict=True), strict=True))
    return PageTable(name, columns, tuple(rows), folded="run_id" in table and len(table) > FEW)


def _numeric(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))


def _key(value: Any) -> str:
    """The sort key of a value: its full precision; empty if it is missing."""
    return "" if missing(value) else repr(float(value)) if isinstance(value, float) else str(value)
