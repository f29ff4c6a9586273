"""The verdicts on claims: as a table, in the terminal, and added to the report of a study."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from rich.console import Group
from rich.markup import escape

from ntkode.report.base import Report, StudyReport
from ntkode.report.claims.claims import Claims, Judgement, Verdict
from ntkode.report.formatting import MISSING, short
from ntkode.report.statistics.intervals import Estimate
from ntkode.report.tables.terminal import terminal_table

STYLES = {Verdict.SUPPORTED: "green", Verdict.NOT_SUPPORTED: "red", Verdict.INCONCLUSIVE: "yellow"}


@dataclass(frozen=True)
class WithVerdicts:
    """The report of a study with the verdicts on its claims (see `with_verdicts`), as a `StudyReport`.

    Attributes:
        report: makes the report without verdicts.
        claims: the claims to judge.
    """

    report: StudyReport
    claims: Claims

    def __call__(self, runs: pd.DataFrame, results_dir: Path) -> Report:
        """The report of these runs (see `StudyReport`) with its verdicts."""
        return with_verdicts(self.report(runs, results_dir), self.claims, runs)


def with_verdicts(report: Report, claims: Claims, runs: pd.DataFrame) -> Report:
    """The report, extended by the verdicts on the claims and the table `<claims.name>_verdicts`."""
    judgements = claims.judge(runs)
    return replace(
        report,
        tables={**report.tables, f"{claims.name}_verdicts": verdict_table(claims.name, judgements)},
        rendering=Group(report.rendering, "", render_verdicts(judgements)),
        judgements=tuple(judgements),
    )


def verdict_table(study: str, judgements: Sequence[Judgement]) -> pd.DataFrame:
    """One row per claim.

    Columns: study, claim (its name), verdict, estimate (the value), low, high, replicates, expected,
    quantity, statement, source, reason.
    """
    columns = ["study", "claim", "verdict", "estimate", "low", "high", "replicates", "expected"]
    columns += ["quantity", "statement", "source", "reason"]
    rows = [
        (
            study,
            judgement.claim.name,
            str(judgement.verdict),
            judgement.estimate.value,
            judgement.estimate.low,
            judgement.estimate.high,
            judgement.estimate.replicates,
            str(judgement.claim.expectation),
            judgement.claim.quantity,
            judgement.claim.statement,
            judgement.claim.source,
            judgement.reason,
        )
        for judgement in judgements
    ]
    return pd.DataFrame(rows, columns=columns)


def render_verdicts(judgements: Sequence[Judgement]) -> Group:
    """A terminal table of the claims; below it the reason of each inconclusive verdict and the totals."""
    table = terminal_table(title="claims")
    table.add_column("claim", overflow="fold", ratio=1)
    table.add_column("measured (95 % interval)", justify="right")
    table.add_column("replicates", justify="right", no_wrap=True)
    table.add_column("expected", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for judgement in judgements:
        table.add_row(
            f"{escape(judgement.claim.statement)}\n[dim]{escape(judgement.claim.quantity)}[/]",
            numbers(judgement.estimate),
            str(judgement.estimate.replicates),
            str(judgement.claim.expectation),
            f"[{STYLES[judgement.verdict]}]{judgement.verdict}[/]",
        )
    undecided = [judgement for judgement in judgements if judgement.verdict is Verdict.INCONCLUSIVE]
    notes = [
        f"[yellow]{escape(judgement.claim.statement)}[/]: {escape(judgement.reason)}"
        for judgement in undecided
    ]
    return Group(table, *([""] if notes else []), *notes, "", _totals(judgements))


def numbers(estimate: Estimate) -> str:
    """An estimate as text, value (low … high): `−0.998 (−1.01 … −0.985)`."""
    if math.isnan(estimate.value):
        return MISSING
    if math.isnan(estimate.low):
        return short(estimate.value)
    return f"{short(estimate.value)} ({short(estimate.low)} … {short(estimate.high)})"


def _totals(judgements: Sequence[Judgement]) -> str:
    verdicts = [judgement.verdict for judgement in judgements]
    return "verdicts: " + ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict)
