"""Format advice: as tables for the terminal and as plain values for JSON."""

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

# Maximum number of candidates in the table.
MAX_ROWS = 12


def command(advice: Advice, given: Sequence[str]) -> str:
    """The ready-to-run command: the user's overrides, replaced where advised, and the advised overrides."""
    keys = {override.partition("=")[0] for override in advice.overrides}
    kept = [pair for pair in given if pair.partition("=")[0] not in keys]
    return shlex.join(["python", "benchmarks/run.py", *kept, *advice.overrides])


def rendered(advice: Advice, evidence: AdviceData) -> RenderableType:
    """The terminal output: candidates, reasons and the origin of the evidence."""
    return Group(_candidates(advice), "", _reasons(advice), "", escape(origin(advice, evidence)))


def origin(advice: Advice, evidence: AdviceData) -> str:
    """The data sets of the evidence, and whether the requested one is among them."""
    name = advice.dataset
    runs = sum(source.runs for source in evidence.sources)
    included = f"including {name}" if name in evidence.datasets else f"none of them of {name}"
    return (
        f"Evidence: {runs} stored runs on {', '.join(evidence.datasets)}, {included}. Predictions: "
        f"{len(advice.problem)} samples of the training split of {name}; the test split is not used."
    )


def plain(advice: Advice, given: Sequence[str], evidence: AdviceData) -> dict[str, Any]:
    """The complete advice as JSON-compatible values."""
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
        "excess over\nthe least",
        "held-out\nloss",
        "L/L₀ in\nthe limit",
        "λ_min",
        "condition\nnumber",
        "class",
        "width\nneeded",
        "tied",
    ):
        table.add_column(header, justify="right")
    rows = list(advice.plan.ranked[:MAX_ROWS])
    if advice.default is not None and advice.default not in rows:
        rows.append(advice.default)
    for r in rows:
        table.add_row(*_texts(r, r is advice.default, advice.plan.needs))
    if len(advice.plan.ranked) > MAX_ROWS:
        table.add_row(f"and {len(advice.plan.ranked) - MAX_ROWS} more", style="dim")
    for refused in advice.refused[:MAX_ROWS]:
        candidate = refused.candidate
        table.add_row(escape(candidate.activation.name), f"{candidate.gamma:g}", escape(refused.reason))
    return table


def _texts(r: Ranked, default: bool, needs: Mapping[Candidate, int]) -> list[str]:
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
        evidence = escape(reason.evidence)
        if reason.caveat:
            evidence += f"\n[yellow]weak evidence: {escape(reason.caveat)}[/yellow]"
        table.add_row(
            escape(reason.choice), f"[bold]{escape(reason.value)}[/bold]", escape(reason.rule), evidence
        )
    return table
