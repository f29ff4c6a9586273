"""Claims with their verdicts, as a table, in the terminal, and beside a study's own report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from ntkode.report.base import Report, StudyReport
from ntkode.report.claims.claims import Claims, Judgement, Verdict
from ntkode.report.formatting import MISSING, shown
from ntkode.report.statistics.intervals import Estimate

STYLES = {Verdict.SUPPORTED: "green", Verdict.NOT_SUPPORTED: "red", Verdict.INCONCLUSIVE: "yellow"}


@dataclass(frozen=True)
class WithVerdicts:
    """A study's report that ends with the verdicts on its claims: `<claims.name>_verdicts.csv` beside it."""

    report: StudyReport
    claims: Claims

    def __call__(self, runs: pd.DataFrame, results_dir: Path) -> Report:
        """The report of these runs, and their verdicts."""
        base = self.report(runs, results_dir)
        judgements = self.claims.judge(runs)
        return replace(
            base,
            tables={
                **base.tables,
                f"{self.claims.name}_verdicts": verdict_table(self.claims.name, judgements),
            },
            shown=Group(base.shown, "", shown_verdicts(judgements)),
            judgements=tuple(judgements),
        )


def verdict_table(study: str, judgements: Sequence[Judgement]) -> pd.DataFrame:
    """A row a claim: its verdict, the numbers, what was expected, and the words."""
    columns = ["study", "claim", "verdict", "estimate", "low", "high", "replicates", "expected"]
    columns += ["quantity", "statement", "source", "reason"]
    rows = [
        (
            study,
            told.claim.name,
            str(told.verdict),
            told.evidence.estimate,
            told.evidence.low,
            told.evidence.high,
            told.evidence.replicates,
            str(told.claim.expectation),
            told.claim.quantity,
            told.claim.statement,
            told.claim.source,
            told.reason,
        )
        for told in judgements
    ]
    return pd.DataFrame(rows, columns=columns)


def shown_verdicts(judgements: Sequence[Judgement]) -> Group:
    """The claims with their numbers, and beneath why the inconclusive ones are."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, title="claims")
    table.add_column("claim", overflow="fold", ratio=1)
    table.add_column("measured (95 % interval)", justify="right")
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("expected", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for told in judgements:
        table.add_row(
            f"{escape(told.claim.statement)}\n[dim]{escape(told.claim.quantity)}[/]",
            numbers(told.evidence),
            str(told.evidence.replicates),
            str(told.claim.expectation),
            f"[{STYLES[told.verdict]}]{told.verdict}[/]",
        )
    open_ = [told for told in judgements if told.verdict is Verdict.INCONCLUSIVE]
    notes = [f"[yellow]{told.claim.name}[/]: {escape(told.reason)}" for told in open_]
    return Group(table, *([""] if notes else []), *notes, "", _sum(judgements))


def numbers(evidence: Estimate) -> str:
    """Such as `−0.998 (−1.01 … −0.985)`."""
    if evidence.estimate != evidence.estimate:
        return MISSING
    if evidence.low != evidence.low:
        return shown(evidence.estimate)
    return f"{shown(evidence.estimate)} ({shown(evidence.low)} … {shown(evidence.high)})"


def _sum(judgements: Sequence[Judgement]) -> str:
    verdicts = [told.verdict for told in judgements]
    return "verdicts: " + ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict)
