"""The report of study=gradient_accuracy: the order of the gradient's error, and its parts."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Group as Rendering
from rich.markup import escape
from rich.table import Table

from ntkode.report.base import Report
from ntkode.report.formatting import MISSING, measured, plain
from ntkode.report.gradients.accuracy_figure import gradient_figure
from ntkode.report.gradients.points import (
    END,
    ERROR,
    START,
    Group,
    fit_orders,
    gradient_points,
    groups_of,
    of_group,
)
from ntkode.report.statistics.power_law import PowerLaw
from ntkode.report.tables.comparison import Column, comparison, failures
from ntkode.report.tables.terminal import terminal_table

NOT_MEASURED = "no run measured the gradient's error; try metrics=gradient"

_PARTS = ("rounding", "backward", "forward", "otd_gap")
_MEASURES = (
    Column(f"{ERROR}.first", "gradient error", "error"),
    Column("gradient/reference_error.first", "reference error", ""),
    Column(f"{ERROR}/vs_discrete.first", "error against discrete", ""),
    *(Column(f"{ERROR}/{name}.first", f"gradient error {name}", "") for name in ("U", "W", "v")),
    Column("gradient/cosine.first", "cosine", ""),
    *(Column(f"gradient/part/{part}.first", part, part.replace("_", "\n")) for part in _PARTS),
    Column("gradient/kink_crossings.first", "kink crossings", "kink\ncrossings"),
    Column("gradient/reverse_drift.first", "reverse drift", ""),
    Column("cost/nfe_forward.first", "nfe forward", ""),
    Column("cost/nfe_backward.first", "nfe backward", ""),
    Column("cost/rejected_forward.first", "rejected forward", ""),
    Column("cost/rejected_backward.first", "rejected backward", ""),
    Column("cost/gradient_seconds.first", "seconds", "seconds"),
    Column("cost/gradient_memory.first", "memory", "MiB"),
    Column(ERROR, "gradient error trained", ""),
    Column("gradient/reference_error", "reference error trained", ""),
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The tables `gradient_accuracy` (one row per run) and `gradient_accuracy_orders`, and the figure."""
    points = gradient_points(runs)
    orders = {moment: fit_orders(points, moment) for moment in (START, END)}
    table = comparison(runs, _MEASURES)
    tables = {"gradient_accuracy": table, "gradient_accuracy_orders": order_table(points, orders)}
    if points.empty:
        rendering = Rendering(NOT_MEASURED, *failures(table))
    else:
        parts = _render_parts(runs, points)
        rendering = Rendering(_render_orders(points, orders), "", parts, *failures(table))
    return Report("gradient_accuracy", tables, rendering, gradient_figure(points, orders[START]))


def order_table(points: pd.DataFrame, orders: dict[str, dict[Group, PowerLaw]]) -> pd.DataFrame:
    """One row per group and moment: the order with its interval, the order at the finest resolutions."""
    columns = [
        "activation",
        "method",
        "moment",
        "in",
        "order",
        "interval_low",
        "interval_high",
        "end_order",
        "points",
        "seeds",
    ]
    rows = []
    for moment, laws in orders.items():
        for group, law in laws.items():
            group_points = of_group(points[points["moment"] == moment], group)
            rows.append(
                (
                    group.activation,
                    group.method,
                    moment,
                    group_points["resolution"].iloc[0],
                    -law.slope,
                    -law.slope - law.half_width,
                    -law.slope + law.half_width,
                    -law.end_slope,
                    _sizes(group_points),
                    law.seeds,
                )
            )
    return pd.DataFrame(rows, columns=columns)


def _sizes(points: pd.DataFrame) -> int:
    """The number of resolutions with a known error."""
    return int(points.loc[points["known"], "x"].nunique())


def _render_orders(points: pd.DataFrame, orders: dict[str, dict[Group, PowerLaw]]) -> Table:
    """One row per group: orders at the start, between the two finest resolutions, and after training."""
    resolutions = " or ".join(points["resolution"].unique())
    headers = ["order\nat the start", "at the two\nfinest", "known\npoints", "order\ntrained"]
    rendering = _table(f"order of the gradient's error in {resolutions} (95 % interval)", headers)
    starts = points[points["moment"] == START]
    for group in groups_of(starts):
        law, trained = orders[START][group], orders[END].get(group)
        values = (law.order, f"{-law.end_slope:.2f}", str(_sizes(of_group(starts, group))))
        rendering.add_row(*_names(group), *values, MISSING if trained is None else trained.order)
    return rendering


def _render_parts(runs: pd.DataFrame, points: pd.DataFrame) -> Table:
    """Medians over seeds of the error and its parts, at the middle resolution of each group."""
    starts = points[points["moment"] == START]
    # Rounding is zero in float64: no column of zeros.
    measures = [m for m in _MEASURES if m.header and m.metric in runs and runs[m.metric].abs().max() > 0]
    title = "parts of the error at a middle resolution (medians over seeds)"
    rendering = _table(title, ["at", *(measure.header for measure in measures)])
    rendering.columns[2].justify = "left"
    by_id = runs.set_index("run_id")
    for group in groups_of(starts):
        group_points = of_group(starts, group)
        sizes = sorted(group_points["x"].unique())
        middle = group_points[group_points["x"] == sizes[len(sizes) // 2]]
        medians = by_id.loc[middle["run_id"], [m.metric for m in measures]].astype(float).median()
        rendering.add_row(*_names(group), _resolution(middle.iloc[0]), *map(measured, medians))
    return rendering


def _table(title: str, headers: Sequence[str]) -> Table:
    """An empty table with two columns for the names of a group."""
    rendering = terminal_table(["", ""], headers, title=title, padding=(0, 1, 0, 0))
    for column in rendering.columns:
        column.no_wrap = True
    return rendering


def _names(group: Group) -> Sequence[str]:
    return escape(group.activation), escape(group.method)


def _resolution(point: pd.Series) -> str:
    return f"{plain(point['x'])} steps" if point["resolution"] == "steps" else f"tol {1 / point['x']:.0e}"
