"""The tables of gpu.py's record, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]
NONE = "–"
PEAKS = {"peak": "float32", "peak-float64": "float64"}
STEPS = {
    "ntkode": "ntkode",
    "torchdiffeq": "plain loop with torchdiffeq",
    "metrics": "ntkode, metrics=standard",
    "compiled": "ntkode, compiled field",
}


def markdown(record: dict[str, Any]) -> str:
    """The page of a record: the machine, and one section per part that has rows."""
    hardware, packages = record["hardware"], record["packages"]
    machine = ", ".join(hardware["gpus"]) or hardware["cpu"]
    commit = (record["git"]["commit"] or "unknown")[:7] + (
        " with uncommitted changes" if record["git"]["dirty"] else ""
    )
    lines = [
        f"# Measured on {machine}",
        "",
        f"{record['started'][:10]}, torch {packages['torch']}, commit {commit}. "
        "`make gpu` writes this page; `python benchmarks/perf/gpu.py --help` describes the parts. All "
        "numbers: the JSON file in this folder.",
    ]
    by_part: dict[str, list[Row]] = {}
    for row in record["rows"]:
        by_part.setdefault(row["part"], []).append(row)
    for part, section in SECTIONS.items():
        if part in by_part:
            lines += ["", *section(by_part[part], by_part)]
    return "\n".join(lines) + "\n"


def _tests(rows: Sequence[Row], _: dict[str, list[Row]]) -> list[str]:
    [row] = rows
    counts = ", ".join(f"{count} {word}" for word, count in row.get("counts", {}).items())
    failures = [f"- `{name}`" for name in row.get("failures", ())]
    return [
        "## Tests (`pytest -m gpu`)",
        "",
        f"{row['status']}: {counts or row.get('reason', '')}",
        *failures,
    ]


def _kernels(rows: Sequence[Row], _: dict[str, list[Row]]) -> list[str]:
    peak = _peak(rows)
    sizes = list(dict.fromkeys((r["samples"], r["width"]) for r in rows if _is_kernel(r)))
    lines = ["## Empirical NTK (RK4, 10 steps)", ""]
    peaks = [
        f"{PEAKS[r['contestant']]} {r['flops_a_second'] / 1e12:.3g} TFLOP/s"
        for r in rows
        if "flops_a_second" in r
    ]
    lines += [
        f"Peak of matrix products: {', '.join(peaks) or NONE}. Share: the floating-point operations that the "
        "method needs at least, divided by the time and the float32 peak. autograd: one sample at a time. "
        "jacrev: `vmap(jacrev)`. GB: peak of the memory allocated by a call. –: not measured.",
        "",
    ]
    table = []
    for size in sizes:
        of_size = {r["contestant"]: r for r in rows if _is_kernel(r) and (r["samples"], r["width"]) == size}
        ours = of_size.get("ntkode", {})
        share = ours["details"]["flops"] / ours["seconds"] / peak if peak and _done(ours) else None
        with_spectrum = of_size.get("ntkode-spectrum", {})
        table.append(
            (
                *map(str, size),
                _cost(ours),
                NONE if share is None else f"{share:.1%}",
                _cost(with_spectrum),
                f"{with_spectrum['details']['lambda_min']:.4g}" if _done(with_spectrum) else NONE,
                _cost(of_size.get("loop", {})),
                _cost(of_size.get("jacrev", {})),
            )
        )
    return [
        *lines,
        *_table(("N", "n", "ntkode", "share", "with λ_min", "λ_min", "autograd", "jacrev"), table),
    ]


def _training(rows: Sequence[Row], by_part: dict[str, list[Row]]) -> list[str]:
    peak = _peak(by_part.get("kernels", ()))
    steps = {row["contestant"]: row.get("by_width", {}) for row in rows}
    table = []
    for width in map(str, sorted({width for row in rows for width in row["widths"]})):
        of_width = [values.get(width) for values in steps.values()]
        ours = steps.get("ntkode", {}).get(width)
        share = NONE if ours is None or not peak else f"{ours['flops'] / ours['seconds'] / peak:.1%}"
        times = (NONE if step is None else f"{1e3 * step['seconds']:.3g} ms" for step in of_width)
        table.append((width, *times, share))
    unfinished = [f"- {row['contestant']}: {row['reason']}" for row in rows if not _done(row)]
    title = f"## One training step on {rows[0]['samples']} samples (RK4, 10 steps, float32)"
    headings = ("n", *(STEPS[name] for name in steps), "share of ntkode")
    note = (
        "ntkode: a run with `metrics=none`. Mean of consecutive steps after a warm-up; `metrics=standard` "
        "with the measurements of these steps. "
    )
    note += "Share: floating-point operations of matrix products, divided by the time and the float32 peak."
    return [title, "", note, "", *_table(headings, table), *([""] if unfinished else []), *unfinished]


def _jobs(rows: Sequence[Row], _: dict[str, list[Row]]) -> list[str]:
    table = [(row["measurement"], f"`{row['overrides']}`", row["status"], _seconds(row)) for row in rows]
    headings = ("command", "overrides of `benchmarks/run.py`", "status", "time")
    return ["## Commands", "", *_table(headings, table)]


SECTIONS = {"tests": _tests, "kernels": _kernels, "training": _training, "jobs": _jobs}


def _is_kernel(row: Row) -> bool:
    return not row["contestant"].startswith("peak") if "contestant" in row else False


def _peak(rows: Iterable[Row]) -> float | None:
    peaks = [row["flops_a_second"] for row in rows if row.get("contestant") == "peak" and _done(row)]
    return peaks[0] if peaks else None


def _done(row: Row) -> bool:
    return row.get("status") == "done"


def _cost(row: Row) -> str:
    return f"{_seconds(row)}, {row['memory'] / 1e9:.2g} GB" if _done(row) else _seconds(row)


def _seconds(row: Row) -> str:
    if _done(row):
        return f"{row['seconds']:.3g} s"
    error = str(row.get("reason", NONE)).partition(":")[0]  # only the type
    return "out of memory" if error == "OutOfMemoryError" else error


def _table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(headings)} |",
        "|" + "---|" * len(headings),
        *(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |" for line in lines),
    ]
