"""The gradient benchmark as people read it: ratios to backprop, targets, a table of each setting."""

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
    """What is aimed at: a ratio to backprop, its bound, and whether it is kept; None where unknown."""
    found = []
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
            found.append(part | {"ratio": ratio, "at_most": bound, "kept": kept})
    return found


def cost_ratio(result: Result, name: str, quantity: str) -> float | None:
    """A contestant's seconds, allocated or resident memory over backprop's."""
    by_name = {row["contestant"]: row for row in result["contestants"]}
    above, below = (by_name[n].get(quantity) for n in (name, BASE))
    return above / below if above is not None and below else None


def error_ratio(result: Result, name: str) -> float | None:
    """Median over the seeds of a contestant's error over backprop's."""
    own, base = errors(result, name), errors(result, BASE)
    return statistics.median(a / b for a, b in zip(own, base, strict=True)) if own and base else None


def errors(result: Result, name: str) -> list[float]:
    """A contestant's error of each seed."""
    ended = [row["errors"] for row in result["errors"] if row["status"] == "done"]
    return [found[name] for found in ended if name in found]


def printed(result: Result) -> Table:
    """A setting's table for the terminal."""
    table = Table(title=_title(result))
    for index, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if index else "left")
    for row in result["contestants"]:
        table.add_row(*_cells(result, row))
    return table


def markdown(record: dict[str, Any]) -> str:
    """The page: targets, then a table of each setting."""
    peers = ", ".join(f"{name} {version or 'not installed'}" for name, version in record["peers"].items())
    packages = record["packages"]
    lines = [
        f"# One loss gradient by each method: ntkode {packages['ntkode']}",
        "",
        f"{record['hardware']['cpu']}, one thread; torch {packages['torch']}, torchdiffeq "
        f"{packages['torchdiffeq']}{', ' * bool(peers)}{peers}; {record['started'][:10]}.",
        "Protocol: top of `benchmarks/perf/gradients.py`. All numbers: the JSON file beside this one.",
        "",
        "Ratios are to backprop through torchdiffeq's `odeint`, in the same run. Allocated: by PyTorch's",
        "allocator at the peak; resident: in the process. Error: relative to a float64 reference, median and",
        "worst over the seeds; its ratio: the median of the seeds' ratios.",
        "",
        *_rows(("target", "N", "n", "φ", "found", "at most", ""), map(_target, record["targets"])),
    ]
    for result in record["settings"]:
        lines += ["", f"## {_title(result)}", "", *_remarks(result)]
        lines += _rows(HEADINGS, (_cells(result, row) for row in result["contestants"]))
    return "\n".join(lines) + "\n"


def told(target: dict[str, Any]) -> str:
    """A target as a line."""
    what, samples, width, activation, found, bound, kept = _target(target)
    return f"{activation} ({samples}, {width}) {what} {found} of backprop's, at most {bound}: {kept}"


def _title(result: Result) -> str:
    problem = result["problem"]
    return f"{problem['activation']}, N = {problem['samples']}, n = {problem['width']}"


def _remarks(result: Result) -> Iterator[str]:
    own = [row["reference_error"] for row in result["errors"] if row["status"] == "done"]
    if own:
        steps = result["reference_steps"]
        worst = f"{max(own):.1e} at most, by halving its {steps} steps"
        yield f"{len(own)} seeds. The reference's own error: {worst}."
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
        {True: "kept", False: "missed", None: "unknown"}[target["kept"]],
    )


def _cells(result: Result, row: dict[str, Any]) -> tuple[str, ...]:
    name = row["contestant"]
    if row.get("status") != "done":
        return (name, f"{row.get('status', 'to come')}: {row.get('reason', '')}", *(NONE,) * 8)
    own = errors(result, name)
    return (
        name,
        f"{row['seconds']:.3g} s",
        _times(cost_ratio(result, name, "seconds")),
        _megabytes(row.get("allocated")),
        _times(cost_ratio(result, name, "allocated")),
        _megabytes(row.get("resident")),
        _times(cost_ratio(result, name, "resident")),
        f"{statistics.median(own):.1e}" if own else NONE,
        f"{max(own):.1e}" if own else NONE,
        _times(error_ratio(result, name)),
    )


def _rows(headings: tuple[str, ...], rows: Any) -> list[str]:
    lines = [headings, ("---",) * len(headings), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _megabytes(value: float | None) -> str:
    return NONE if value is None else f"{value / 1e6:.1f} MB"


def _times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.3g}×"
