"""Reports on limits: quantities that decrease as a power of a size, in tables and a figure."""

import math

import pandas as pd
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from ntkode.report.base import Report
from ntkode.report.formatting import MISSING, measured, plain
from ntkode.report.limits.scaling_figure import Quantity, Scaling, scaling_figure
from ntkode.report.statistics.power_law import PowerLaw, fit_power_law
from ntkode.report.statistics.replicates import replicate
from ntkode.report.tables.comparison import Column, comparison, failures, labels
from ntkode.report.tables.terminal import terminal_table
from ntkode.results import Status

__all__ = ["Quantity", "Scaling", "fit_all", "measurements", "scaling_report", "slope_table"]

_SEEDS = ("config.seed", "config.dataset.seed")


def scaling_report(runs: pd.DataFrame, scaling: Scaling) -> Report:
    """The tables `<name>` (one row per run) and `<name>_slopes` (one per quantity and group), and the figure.

    A group consists of the done runs that differ in size and seed alone, for example those of one activation.
    """
    points = measurements(runs, scaling)
    laws = fit_all(points, scaling)
    measures = tuple(Column(q.column, q.name, q.header) for q in scaling.quantities) + scaling.others
    table = comparison(runs, measures)
    tables = {scaling.name: table, f"{scaling.name}_slopes": slope_table(laws, scaling)}
    rendering = Group(_render_medians(points, scaling), "", _render_slopes(laws, scaling), *failures(table))
    return Report(scaling.name, tables, rendering, scaling_figure(points, laws, scaling))


def measurements(runs: pd.DataFrame, scaling: Scaling) -> pd.DataFrame:
    """The positive finite values of done runs; columns `quantity` (its name), `group`, `x`, `seed`, `y`."""
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
                "seed": replicate(done),
                "y": done[quantity.column].astype(float),
            }
        )
        parts.append(values[(values["y"] > 0) & (values["y"] < math.inf)])
    empty = pd.DataFrame(columns=["quantity", "group", "x", "seed", "y"])
    return pd.concat(parts, ignore_index=True) if parts else empty


def fit_all(points: pd.DataFrame, scaling: Scaling) -> dict[tuple[str, str], PowerLaw]:
    """The power law of each (quantity name, group), in order."""
    laws = {}
    for quantity in scaling.quantities:
        fitted = points[(points["quantity"] == quantity.name) & (points["x"] >= scaling.least)]
        for group in fitted["group"].unique():
            laws[quantity.name, str(group)] = fit_power_law(fitted[fitted["group"] == group])
    return laws


def slope_table(laws: dict[tuple[str, str], PowerLaw], scaling: Scaling) -> pd.DataFrame:
    """One row per quantity and group.

    Columns: quantity, group, slope with its 95 % interval, reference slope, slope between the two largest
    sizes, number of seeds, smallest size of the fit.
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


def _render_medians(points: pd.DataFrame, scaling: Scaling) -> Table:
    """Medians over seeds, one row per group and size."""
    headers = (quantity.header for quantity in scaling.quantities)
    rendering = terminal_table([""], [scaling.size_name, *headers], title="medians over seeds")
    medians = points.groupby(["group", "x", "quantity"], sort=False)["y"].median()
    for group in points["group"].unique():
        for size in sorted(points.loc[points["group"] == group, "x"].unique()):
            values = (medians.get((group, size, quantity.name)) for quantity in scaling.quantities)
            rendering.add_row(escape(str(group)), plain(size), *map(measured, values))
    return rendering


def _render_slopes(laws: dict[tuple[str, str], PowerLaw], scaling: Scaling) -> Table:
    """The exponents with their intervals, one row per group, one column per quantity."""
    title = f"slopes in {scaling.size_name} (95 % interval over seeds)"
    rendering = terminal_table([""], (quantity.header for quantity in scaling.quantities), title=title)
    for group in dict.fromkeys(group for _, group in laws):
        group_laws = (laws.get((quantity.name, group)) for quantity in scaling.quantities)
        rendering.add_row(escape(group), *(MISSING if law is None else str(law) for law in group_laws))
    reference = (plain(quantity.reference) for quantity in scaling.quantities)
    rendering.add_row("reference", *reference, style="dim")
    return rendering
