"""Advice as text for the terminal, and as plain values for JSON."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from ntkode.advice.advice_data import AdviceData
from ntkode.advice.advising import Advice
from ntkode.advice.prediction import Candidate, Ranked
from ntkode.report.tables.terminal import terminal_table

# Candidates that the table shows.
SHOWN = 12


def command(advice: Advice, given: Sequence[str]) -> str:
    """The command line to paste: what the user gave, then the advice, which comes in place of it."""
    keys = {override.partition("=")[0] for override in advice.overrides}
    kept = [pair for pair in given if pair.partition("=")[0] not in keys]
    return shlex.join(["python", "benchmarks/run.py", *kept, *advice.overrides])


def shown(advice: Advice, evidence: AdviceData) -> RenderableType:
    """Candidates, reasons, and where the evidence is from."""
    return Group(_candidates(advice), "", _reasons(advice), "", escape(origin(advice, evidence)))


def origin(advice: Advice, evidence: AdviceData) -> str:
    """On which data sets the evidence was measured, and whether the asked one is among them."""
    name = advice.dataset
    runs = sum(source.runs for source in evidence.sources)
    seen = "which is this one too" if name in evidence.datasets else f"none of them of {name}"
    return (
        f"Evidence: {runs} stored runs on {', '.join(evidence.datasets)}, {seen}. Predictions: the training "
        f"split of {name} alone, {len(advice.problem)} samples; its test split was not looked at."
    )


def plain(advice: Advice, given: Sequence[str], evidence: AdviceData) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "dataset": advice.dataset,
        "draw": advice.draw,
        "command": command(advice, given),
        "given": list(given),
        "overrides": advice.overrides,
        "steps": advice.plan.steps,
        "asked": asdict(advice.request) | {"horizon": advice.horizon},
        "seconds": advice.plan.seconds,
        "reasons": [asdict(reason) for reason in advice.reasons],
        "measure": advice.problem.measure,
        "samples": len(advice.problem),
        "candidates": [_row(r) for r in advice.plan.ranked],
        "default": None if advice.default is None else _row(advice.default),
        "refused": [
            {"activation": r.candidate.activation.name, "gamma": r.candidate.gamma, "reason": r.reason}
            for r in advice.refused
        ],
        "evidence": {
            "datasets": evidence.datasets,
            "sources": [asdict(source) for source in evidence.sources],
        },
    }


def _row(r: Ranked) -> dict[str, Any]:
    prediction, spectrum = r.prediction, r.prediction.spectrum
    return {
        "activation": prediction.candidate.activation.name,
        "gamma": prediction.candidate.gamma,
        "steps": r.steps,
        "error": prediction.error(r.steps),
        "excess": r.excess,
        "noise": r.noise,
        "tied": r.tied,
        "held_out_loss": prediction.losses[r.steps],
        "loss_ratio": prediction.ratios[r.steps],
        "smoothness": prediction.candidate.activation.profile.smoothness_class,
        **asdict(spectrum),
        "below_resolution": spectrum.below_resolution,
    }


def _candidates(advice: Advice) -> Table:
    first = advice.plan.ranked[0]
    title = f"training under Θ_∞, {first.steps} steps of 1/λ_max, {len(advice.problem)} samples"
    table = terminal_table([""], title=title)
    table.title_justify = "left"
    for header in (
        "σ_w·T",
        advice.problem.measure,
        "more than\nthe least",
        "held-out\nloss",
        "L/L₀ in\nthe limit",
        "λ_min",
        "condition\nnumber",
        "class",
        "width by\nthe law",
        "tied",
    ):
        table.add_column(header, justify="right")
    rows = list(advice.plan.ranked[:SHOWN])
    if advice.default is not None and advice.default not in rows:
        rows.append(advice.default)
    for r in rows:
        table.add_row(*_cells(r, r is advice.default, advice.plan.needs))
    if len(advice.plan.ranked) > SHOWN:
        table.add_row(f"and {len(advice.plan.ranked) - SHOWN} more", style="dim")
    for lost in advice.refused[:SHOWN]:
        candidate = lost.candidate
        table.add_row(escape(candidate.activation.name), f"{candidate.gamma:g}", escape(lost.reason))
    return table


def _cells(r: Ranked, default: bool, needs: Mapping[Candidate, int]) -> list[str]:
    row = _row(r)
    name = escape(str(row["activation"])) + (" (default)" if default else "")
    floor = f"< {row['resolution']:.1g}" if row["below_resolution"] else f"{row['lambda_min']:.2g}"
    return [
        name if not r.tied else f"[bold]{name}[/bold]",
        f"{row['gamma']:g}",
        f"{row['error']:.4g}",
        f"{row['excess']:.2g} ± {row['noise']:.2g}",
        f"{row['held_out_loss']:.4g}",
        f"{row['loss_ratio']:.3g}",
        floor,
        f"{row['condition_number']:.2g}",
        str(row["smoothness"]),
        str(needs.get(r.prediction.candidate, "")),
        "✓" if r.tied else "",
    ]


def _reasons(advice: Advice) -> Table:
    table = terminal_table(["choice", "value", "rule", "evidence"])
    for reason in advice.reasons:
        told = escape(reason.evidence) + (
            f"\n[yellow]thin: {escape(reason.thin)}[/yellow]" if reason.thin else ""
        )
        table.add_row(
            escape(reason.choice), f"[bold]{escape(reason.value)}[/bold]", escape(reason.rule), told
        )
    return table
