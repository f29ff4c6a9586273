"""The report of study=gradient_accuracy: orders of the gradient's error, and what they cost."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Group as Shown
from rich.markup import escape
from rich.table import Table

from ntkode.report.base import Report
from ntkode.report.formatting import MISSING, three_digits
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

NOT_MEASURED = "no run measured the gradient's error: metrics=gradient does"

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
    """`gradient_accuracy.csv`, a row a run; `gradient_accuracy_orders.csv`, a row a group; the picture."""
    points = gradient_points(runs)
    orders = {moment: fit_orders(points, moment) for moment in (START, END)}
    table = comparison(runs, _MEASURES)
    tables = {"gradient_accuracy": table, "gradient_accuracy_orders": order_table(points, orders)}
    if points.empty:
        shown = Shown(NOT_MEASURED, *failures(table))
    else:
        shown = Shown(_shown_orders(points, orders), "", _shown_parts(runs, points), *failures(table))
    return Report("gradient_accuracy", tables, shown, gradient_figure(points, orders[START]))


def order_table(points: pd.DataFrame, orders: dict[str, dict[Group, PowerLaw]]) -> pd.DataFrame:
    """One row a group and moment: order, its 95 % interval, the order between the two finest resolutions."""
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
            own = of_group(points[points["moment"] == moment], group)
            rows.append(
                (
                    group.activation,
                    group.method,
                    moment,
                    own["resolution"].iloc[0],
                    -law.slope,
                    -law.slope - law.half_width,
                    -law.slope + law.half_width,
                    -law.end_slope,
                    _sizes(own),
                    law.seeds,
                )
            )
    return pd.DataFrame(rows, columns=columns)


def _sizes(points: pd.DataFrame) -> int:
    """Resolutions at which an error is known."""
    return int(points.loc[points["known"], "x"].nunique())


def _shown_orders(points: pd.DataFrame, orders: dict[str, dict[Group, PowerLaw]]) -> Table:
    resolutions = " or ".join(points["resolution"].unique())
    shown = _table(f"order of the gradient's error in {resolutions} (95 % interval)")
    for header in ("order\nat the start", "at the two\nfinest", "known\npoints", "order\ntrained"):
        shown.add_column(header, justify="right", no_wrap=True)
    starts = points[points["moment"] == START]
    for group in groups_of(starts):
        law, trained = orders[START][group], orders[END].get(group)
        cells = (law.order, f"{-law.end_slope:.2f}", str(_sizes(of_group(starts, group))))
        shown.add_row(*_names(group), *cells, MISSING if trained is None else trained.order)
    return shown


def _shown_parts(runs: pd.DataFrame, points: pd.DataFrame) -> Table:
    """Medians over seeds of the error and its parts, at the middle resolution of each group."""
    starts = points[points["moment"] == START]
    # Rounding is zero in float64: no column of zeros.
    measures = [m for m in _MEASURES if m.header and m.metric in runs and runs[m.metric].abs().max() > 0]
    shown = _table("where the error comes from, at a middle resolution (medians over seeds)")
    shown.add_column("at", no_wrap=True)
    for measure in measures:
        shown.add_column(measure.header, justify="right", no_wrap=True)
    told = runs.set_index("run_id")
    for group in groups_of(starts):
        own = of_group(starts, group)
        sizes = sorted(own["x"].unique())
        middle = own[own["x"] == sizes[len(sizes) // 2]]
        medians = told.loc[middle["run_id"], [m.metric for m in measures]].astype(float).median()
        shown.add_row(*_names(group), _resolution(middle.iloc[0]), *map(_number, medians))
    return shown


def _table(title: str) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title=title)
    shown.add_column("", no_wrap=True)
    shown.add_column("", no_wrap=True)
    return shown


def _names(group: Group) -> Sequence[str]:
    return escape(group.activation), escape(group.method)


def _resolution(point: pd.Series) -> str:
    return f"{point['x']:g} steps" if point["resolution"] == "steps" else f"tol {1 / point['x']:.0e}"


def _number(value: float) -> str:
    return MISSING if pd.isna(value) else three_digits(value)
