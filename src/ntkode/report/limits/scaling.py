"""Studies of a limit: quantities that fall as a power of a size; their tables."""

import math

import pandas as pd
from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from ntkode.report.base import Report
from ntkode.report.formatting import MISSING, three_digits
from ntkode.report.limits.scaling_figure import Quantity, Scaling, scaling_figure
from ntkode.report.statistics.power_law import PowerLaw, fit_power_law
from ntkode.report.tables.comparison import Column, comparison, failures, labels
from ntkode.results import Status

__all__ = ["Quantity", "Scaling", "fit_all", "measurements", "scaling_report", "slope_table"]

_SEEDS = ("config.seed", "config.dataset.seed")


def scaling_report(runs: pd.DataFrame, scaling: Scaling) -> Report:
    """`<name>.csv` (a row a run), `<name>_slopes.csv` (a row a group and quantity), and the picture.

    Groups are what differs beside size and seed: an activation each, say. Runs that are done count.
    """
    points = measurements(runs, scaling)
    laws = fit_all(points, scaling)
    measures = tuple(Column(q.column, q.name, q.header) for q in scaling.quantities) + scaling.others
    table = comparison(runs, measures)
    tables = {scaling.name: table, f"{scaling.name}_slopes": slope_table(laws, scaling)}
    shown = Group(_median_table(points, scaling), "", _shown_slopes(laws, scaling), *failures(table))
    return Report(scaling.name, tables, shown, scaling_figure(points, laws, scaling))


def measurements(runs: pd.DataFrame, scaling: Scaling) -> pd.DataFrame:
    """Positive finite values of done runs: columns `quantity` (its name), `group`, `x`, `seed`, `y`."""
    apart = runs.drop(columns=[*_SEEDS, scaling.size, *scaling.same], errors="ignore")
    named = labels(apart)
    done = runs[runs["status"] == Status.DONE]
    parts = []
    for quantity in scaling.quantities:
        if quantity.column not in done or scaling.size not in done:
            continue
        values = pd.DataFrame(
            {
                "quantity": quantity.name,
                "group": done["run_id"].map(named),
                "x": done[scaling.size].astype(float),
                "seed": done["config.seed"],
                "y": done[quantity.column].astype(float),
            }
        )
        parts.append(values[(values["y"] > 0) & (values["y"] < math.inf)])
    empty = pd.DataFrame(columns=["quantity", "group", "x", "seed", "y"])
    return pd.concat(parts, ignore_index=True) if parts else empty


def fit_all(points: pd.DataFrame, scaling: Scaling) -> dict[tuple[str, str], PowerLaw]:
    """The law of each (quantity, group), in their order."""
    laws = {}
    for quantity in scaling.quantities:
        own = points[(points["quantity"] == quantity.name) & (points["x"] >= scaling.least)]
        for group in own["group"].unique():
            laws[quantity.name, str(group)] = fit_power_law(own[own["group"] == group])
    return laws


def slope_table(laws: dict[tuple[str, str], PowerLaw], scaling: Scaling) -> pd.DataFrame:
    """One row a quantity and group.

    Slope, its 95 % interval, reference slope, slope at the end, number of seeds, least size fitted to.
    """
    reference = {quantity.name: quantity.reference for quantity in scaling.quantities}
    columns = [
        "quantity",
        "group",
        "slope",
        "interval_low",
        "interval_high",
        "reference",
        "end_slope",
        "seeds",
        "fitted_from",
    ]
    rows = [
        (
            quantity,
            group,
            law.slope,
            law.slope - law.half_width,
            law.slope + law.half_width,
            reference[quantity],
            law.end_slope,
            law.seeds,
            law.least,
        )
        for (quantity, group), law in laws.items()
    ]
    return pd.DataFrame(rows, columns=columns)


def _median_table(points: pd.DataFrame, scaling: Scaling) -> Table:
    """Medians over seeds, a row a group and size."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, title="medians over seeds")
    shown.add_column("")
    shown.add_column(scaling.size_name, justify="right")
    for quantity in scaling.quantities:
        shown.add_column(quantity.header, justify="right", no_wrap=True)
    for group in points["group"].unique():
        own = points[points["group"] == group]
        for size in sorted(own["x"].unique()):
            medians = own[own["x"] == size].groupby("quantity")["y"].median()
            told = (medians.get(quantity.name) for quantity in scaling.quantities)
            cells = (MISSING if value is None else three_digits(value) for value in told)
            shown.add_row(escape(str(group)), f"{size:g}", *cells)
    return shown


def _shown_slopes(laws: dict[tuple[str, str], PowerLaw], scaling: Scaling) -> Table:
    """A row a group, a column a quantity."""
    title = f"slopes in {scaling.size_name} (95 % interval over seeds)"
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, title=title)
    shown.add_column("")
    for quantity in scaling.quantities:
        shown.add_column(quantity.header, justify="right", no_wrap=True)
    for group in dict.fromkeys(group for _, group in laws):
        told = (laws.get((quantity.name, group)) for quantity in scaling.quantities)
        shown.add_row(escape(group), *(MISSING if law is None else str(law) for law in told))
    reference = (f"{quantity.reference:g}".replace("-", "−") for quantity in scaling.quantities)
    shown.add_row("reference", *reference, style="dim")
    return shown
