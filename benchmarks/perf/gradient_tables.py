"""Tables of the gradient benchmark: ratios to backprop, targets, and one table per setting."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from rich.table import Table

Result = dict[str, Any]
HEADINGS = (
    "contestant",
    "seconds",
    "time",
    "allocated",
    "of backprop's",
    "resident",
    "of backprop's",
    "error",
    "worst",
    "of backprop's",
)
NONE = "–"
BASE = "backprop"
KINK_ERROR, KINK_TIME = 0.1, 2.5
MEMORY, MEMORY_TIME = 0.45, 1.5


def targets(results: list[Result]) -> list[dict[str, Any]]:
    """The targets: ratio to backprop, its bound, and whether it is met (None if not measured)."""
    rows = []
    for result in results:
        if result["reference_steps"]:
            name, bounds = "kink_averaged", {"error": KINK_ERROR, "seconds": KINK_TIME}
        else:
            name = "checkpointed"
            bounds = {"allocated": MEMORY, "resident": MEMORY, "seconds": MEMORY_TIME}
        for quantity, bound in bounds.items():
            ratio = error_ratio(result, name) if quantity == "error" else cost_ratio(result, name, quantity)
            kept = None if ratio is None else ratio <= bound
            part = {"problem": result["problem"], "contestant": name, "quantity": quantity}
            rows.append(part | {"ratio": ratio, "at_most": bound, "kept": kept})
    return rows


def cost_ratio(result: Result, name: str, quantity: str) -> float | None:
    """A contestant's seconds, allocated or resident memory relative to backprop."""
    by_name = {row["contestant"]: row for row in result["contestants"]}
    above, below = (by_name[n].get(quantity) for n in (name, BASE))
    return above / below if above is not None and below else None


def error_ratio(result: Result, name: str) -> float | None:
    """Median over seeds of a contestant's error relative to backprop."""
    values, base = errors(result, name), errors(result, BASE)
    return statistics.median(a / b for a, b in zip(values, base, strict=True)) if values and base else None


def errors(result: Result, name: str) -> list[float]:
    """A contestant's errors, one per seed."""
    done = [row["errors"] for row in result["errors"] if row["status"] == "done"]
    return [by_name[name] for by_name in done if name in by_name]


def printed(result: Result) -> Table:
    """A setting's table for the terminal."""
    table = Table(title=_title(result))
    for index, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if index else "left")
    for row in result["contestants"]:
        table.add_row(*_texts(result, row))
    return table


def markdown(record: dict[str, Any]) -> str:
    """The page: targets, then one table per setting."""
    peers = ", ".join(f"{name} {version or 'not installed'}" for name, version in record["peers"].items())
    packages = record["packages"]
    lines = [
        f"# Gradient methods compared on one loss gradient: ntkode {packages['ntkode']}",
        "",
        f"{record['hardware']['cpu']}, one thread; torch {packages['torch']}, torchdiffeq "
        f"{packages['torchdiffeq']}{', ' * bool(peers)}{peers}; {record['started'][:10]}.",
        "Protocol: docstring of `benchmarks/perf/gradients.py`. All numbers: the JSON file in this folder.",
        "",
        "Ratios are relative to backprop through torchdiffeq's `odeint` in the same run. Allocated: peak of",
        "PyTorch's allocator; resident: peak of the process. Error: relative to a float64 reference, median",
        "and worst over seeds; its ratio is the median of the ratios per seed.",
        "",
        *_rows(("target", "N", "n", "φ", "measured", "at most", ""), map(_target, record["targets"])),
    ]
    for result in record["settings"]:
        lines += ["", f"## {_title(result)}", "", *_remarks(result)]
        lines += _rows(HEADINGS, (_texts(result, row) for row in result["contestants"]))
    return "\n".join(lines) + "\n"


def target_line(target: dict[str, Any]) -> str:
    """A target as one line of text."""
    quantity, samples, width, activation, ratio, bound, kept = _target(target)
    return f"{activation} ({samples}, {width}) {quantity} {ratio} of backprop's, at most {bound}: {kept}"


def _title(result: Result) -> str:
    problem = result["problem"]
    return f"{problem['activation']}, N = {problem['samples']}, n = {problem['width']}"


def _remarks(result: Result) -> Iterator[str]:
    reference = [row["reference_error"] for row in result["errors"] if row["status"] == "done"]
    if reference:
        steps = result["reference_steps"]
        worst = f"at most {max(reference):.1e}, estimated by halving its {steps} steps"
        yield f"{len(reference)} seeds. Error of the reference: {worst}."
        yield ""
    if "difference" in (result["equality"] or {}):
        yield f"checkpointed differs from backprop by {result['equality']['difference']:.1e} in float64."
        yield ""


def _target(target: dict[str, Any]) -> tuple[str, ...]:
    problem, ratio = target["problem"], target["ratio"]
    names = {"seconds": "time", "allocated": "allocated memory", "resident": "resident memory"}
    return (
        f"{target['contestant']}: {names.get(target['quantity'], target['quantity'])}",
        str(problem["samples"]),
        str(problem["width"]),
        problem["activation"],
        _times(ratio),
        _times(target["at_most"]),
        {True: "met", False: "missed", None: "unknown"}[target["kept"]],
    )


def _texts(result: Result, row: dict[str, Any]) -> tuple[str, ...]:
    name = row["contestant"]
    if row.get("status") != "done":
        return (name, f"{row.get('status', 'to come')}: {row.get('reason', '')}", *(NONE,) * 8)
    values = errors(result, name)
    return (
        name,
        f"{row['seconds']:.3g} s",
        _times(cost_ratio(result, name, "seconds")),
        _megabytes(row.get("allocated")),
        _times(cost_ratio(result, name, "allocated")),
        _megabytes(row.get("resident")),
        _times(cost_ratio(result, name, "resident")),
        f"{statistics.median(values):.1e}" if values else NONE,
        f"{max(values):.1e}" if values else NONE,
        _times(error_ratio(result, name)),
    )


def _rows(headings: tuple[str, ...], rows: Any) -> list[str]:
    lines = [headings, ("---",) * len(headings), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _megabytes(value: float | None) -> str:
    return NONE if value is None else f"{value / 1e6:.1f} MB"


def _times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.3g}×"
