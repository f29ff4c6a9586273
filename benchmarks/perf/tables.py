"""Tables of the NTK benchmark: lines for the terminal, one per measurement, and the Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

Row = dict[str, Any]
HEADINGS = ("(N, n) solver", "contestant", "seconds", "memory MB", "kernel difference", "")
WIDTHS = (18, 15, 9, 10, 19, 45)
TERMINAL_WIDTH = sum(WIDTHS) + len(WIDTHS)
NONE = "–"
IN_PYTORCH = ("loop", "jacrev", "vectors")


def terminal(lines: Iterable[Sequence[str]]) -> Table:
    """A table of the given lines with fixed column widths, so that lines can be printed one by one."""
    table = Table.grid(padding=(0, 1))
    for index, width in enumerate(WIDTHS):
        table.add_column(width=width, justify="right" if index in (2, 3, 4) else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def texts(row: Row) -> tuple[str, ...]:
    """One measurement as the texts of a table line."""
    remark = row.get("reason", "")
    if "relative_error" in row:
        remark = f"λ_min error {row['relative_error']:.1e} at condition {row['condition_number']:.1e}"
    elif "flops_a_second" in row:
        remark = f"{row['flops_a_second'] / 1e9:.4g} Gflop/s float32"
    elif row.get("details", {}).get("chunk", 1) > 1:
        remark = f"{row['details']['chunk']} samples at a time"
    return (
        "" if row["contestant"] == "peak" else f"{_size(row)} {row['solver']}",
        row["contestant"],
        _seconds(row),
        _megabytes(row),
        f"{row['difference']:.1e}" if "difference" in row else "",
        f"{row['status']} {remark}" if row["status"] != "done" else remark,
    )


def markdown(record: dict[str, Any]) -> str:
    """Three tables: ratios, all contestants, λ_min."""
    problems = _by_problem(record["measurements"])
    peak = next((r["flops_a_second"] for r in record["measurements"] if "flops_a_second" in r), None)
    hardware = record["hardware"]
    machine = ", ".join(hardware["gpus"]) or f"{hardware['cpu']}, one thread"
    lines = [
        f"# Empirical NTK: ntkode {record['packages']['ntkode']} compared with other libraries",
        "",
        f"{machine}; torch {record['packages']['torch']}; {record['started'][:10]}.",
        "Protocol: docstring of `benchmarks/perf/ntk.py`. All numbers: the JSON file in this folder.",
        "",
        "Speed-up: time of that peer over time of ntkode. Memory: peak of a call, relative to that peer's.",
        "Peak share: floating-point rate relative to a float32 matrix product.",
        "",
        *_table(
            ("N", "n", "solver", "ntkode", "with λ_min", "pass", "ntkode/pass", "with λ_min",
             "fastest in PyTorch", "speed-up", "with λ_min", "memory", "over neural-tangents", "peak share"),
            [_summary(rows, peak) for rows in problems],
        ),
        "",
        *_contestants(problems),
        "",
        *_table(
            ("N", "n", "solver", "condition", "λ_min error", "near-duplicates: condition", "λ_min error"),
            [
                (*_head(rows), *_accuracy(rows, "accuracy"), *_accuracy(rows, "accuracy-ill"))
                for rows in problems
            ],
        ),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def fastest(rows: dict[str, Row]) -> Row | None:
    """The fastest peer in PyTorch among those that are done; None if none is."""
    ended = [row for name, row in rows.items() if name in IN_PYTORCH and row["status"] == "done"]
    return min(ended, key=lambda row: float(row["seconds"]), default=None)


def _by_problem(measurements: Sequence[Row]) -> list[dict[str, Row]]:
    problems: dict[tuple, dict[str, Row]] = {}
    for row in measurements:
        if row["contestant"] != "peak":
            key = row["samples"], row["width"], row["solver"]
            problems.setdefault(key, {})[row["contestant"]] = row
    return list(problems.values())


def _summary(rows: dict[str, Row], peak: float | None) -> tuple[str, ...]:
    ours, total, one_pass = (rows.get(name) for name in ("ntkode", "ntkode-spectrum", "pass"))
    peer = fastest(rows)
    reached = NONE
    if peak and ours and ours["status"] == "done":
        reached = f"{ours['details']['flops'] / ours['seconds'] / peak:.0%}"
    return (
        *_head(rows),
        _seconds(ours),
        _seconds(total),
        _seconds(one_pass),
        _ratio(ours, one_pass, "seconds"),
        _ratio(total, one_pass, "seconds"),
        NONE if peer is None else f"{peer['contestant']} {_seconds(peer)}",
        _ratio(peer, ours, "seconds"),
        _ratio(peer, total, "seconds"),
        _ratio(ours, peer, "memory"),
        _ratio(rows.get("neural-tangents"), ours, "seconds"),
        reached,
    )


def _contestants(problems: Sequence[dict[str, Row]]) -> list[str]:
    names = list(dict.fromkeys(n for rows in problems for n in rows if not n.startswith("accuracy")))
    return _table(
        ("N", "n", "solver", *names),
        [(*_head(rows), *(_summarised(rows.get(name)) for name in names)) for rows in problems],
    )


def _summarised(row: Row | None) -> str:
    if row is None:
        return NONE
    if row["status"] == "done":
        return f"{_seconds(row)}, {_megabytes(row)}"
    return (
        f"{row['reason']}" if row["status"] in ("timeout", "memory") else f"{row['status']}: {row['reason']}"
    )


def _accuracy(rows: dict[str, Row], name: str) -> tuple[str, str]:
    row = rows.get(name)
    if row is None or row["status"] != "done":
        return NONE, NONE if row is None else f"{row['status']}: {row['reason']}"
    return f"{row['condition_number']:.1e}", f"{row['relative_error']:.1e}"


def _table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    rule = "|" + "---|" * len(headings)
    return [
        f"| {' | '.join(headings)} |",
        rule,
        *(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in line)} |" for line in lines),
    ]


def _head(rows: dict[str, Row]) -> tuple[str, str, str]:
    row = next(iter(rows.values()))
    return str(row["samples"]), str(row["width"]), row["solver"]


def _size(row: Row) -> str:
    return f"({row['samples']}, {row['width']})"


def _seconds(row: Row | None) -> str:
    return f"{row['seconds']:.3g} s" if row and "seconds" in row else NONE


def _megabytes(row: Row | None) -> str:
    return f"{row['memory'] / 1e6:.0f} MB" if row and "memory" in row else NONE


def _ratio(above: Row | None, below: Row | None, name: str) -> str:
    """The ratio as `12.3×`; a dash if one of the two was not measured."""
    if not above or not below or not (name in above and below.get(name)):
        return NONE
    return f"{above[name] / below[name]:.3g}×"
