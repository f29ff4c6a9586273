"""The report of study=kernel_positivity: λ_min/λ_max of kernels, with its numerical resolution."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Group
from rich.table import Table

from ntkode.report.base import Report
from ntkode.report.claims.claims import PAPER, Above, Below, Claim, Claims
from ntkode.report.claims.verdicts import WithVerdicts
from ntkode.report.figures.style import Styles, blank_figure, frame, grid, size_ticks, styles_of
from ntkode.report.formatting import MISSING, three_digits
from ntkode.report.statistics.intervals import Exact, GeometricMean, Statistic
from ntkode.report.statistics.replicates import by_activation, done_values, of_each, replicate
from ntkode.report.tables.comparison import Column, comparison, failures
from ntkode.report.tables.terminal import terminal_table
from ntkode.results import Status

DATASET, ACTIVATION, SAMPLES = "config.choices.dataset", "config.choices.activation", "config.n_train"
GENERIC = ("mnist", "mnist_7x7", "sphere")
"""Data without antipodal pairs."""
ANTIPODAL = ("sphere_antipodal",)
NARROW = ("mnist_7x7", "sphere", "sphere_antipodal")
"""Data of fewer features than samples, at all sizes of the experiment."""
SINGULAR = 1e-7
"""λ_min/λ_max below which a kernel counts as singular: above the resolution, below all resolved values."""

_COLUMNS = tuple(
    Column(f"{prefix}{name}", f"{label} {name.replace('_', ' ')}", "")
    for prefix, label in (("ntk/limit_", "NTK limit"), ("nngp/limit_", "NNGP limit"), ("ntk/", "NTK"))
    for name in ("lambda_min", "lambda_max", "resolution", "rank")
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The table `kernel_positivity`, one row per run, and the figure."""
    table = comparison(runs, (*_COLUMNS, Column("cost/run_seconds", "seconds", "")))
    done = runs[runs["status"] == Status.DONE]
    rendering = Group(_render(done), *failures(table))
    return Report("kernel_positivity", {"kernel_positivity": table}, rendering, positivity_figure(done))


def _render(done: pd.DataFrame) -> Table:
    """Medians over seeds of λ_min(Θ_∞)/λ_max; the bound and the rank if a seed is not resolved."""
    title = "λ_min/λ_max of the infinite-width NTK, medians over seeds; < (and the rank) if not resolved"
    table = terminal_table(title=title)
    table.add_column("data", no_wrap=True)
    table.add_column("N", justify="right")
    names = _values(done, ACTIVATION)
    for name in names:
        table.add_column(str(name), justify="right", no_wrap=True)
    for data in _values(done, DATASET):
        for n in sorted(_values(done, SAMPLES)):
            row = done[(done[DATASET] == data) & (done[SAMPLES] == n)]
            ratios = (_ratio(row[row[ACTIVATION] == name]) for name in names)
            table.add_row(str(data), str(n), *ratios)
    return table


def _ratio(runs: pd.DataFrame) -> str:
    if runs.empty or "ntk/limit_lambda_min" not in runs:
        return MISSING
    scale, floor = runs["ntk/limit_lambda_max"], runs["ntk/limit_resolution"]
    if (runs["ntk/limit_lambda_min"] > floor).all():
        return three_digits((runs["ntk/limit_lambda_min"] / scale).median())
    return f"<{three_digits((floor / scale).median())} ({runs['ntk/limit_rank'].median():g})"


def _values(runs: pd.DataFrame, column: str) -> list[Any]:
    return list(runs[column].dropna().unique()) if column in runs else []


def positivity_figure(done: pd.DataFrame) -> Figure:
    """One panel per data set: λ_min/λ_max against N; Θ_∞ filled, Θ_n hollow, arrows if not resolved."""
    figure = blank_figure(11, 7.6)
    sets, styles = _values(done, DATASET), styles_of(_values(done, ACTIVATION))
    columns = 2 if len(sets) > 1 else 1
    rows = max(1, -(-len(sets) // columns))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    for axes, data in zip(panels, sets, strict=False):
        frame(axes, str(data), r"$\lambda_{\min}\,/\,\lambda_{\max}$")
        axes.set_yscale("log")
        axes.set_xscale("log")
        sizes = sorted(_values(done, SAMPLES))
        for number, (name, style) in enumerate(styles.items()):
            runs = done[(done[DATASET] == data) & (done[ACTIVATION] == name)]
            # Shifted so that activations do not hide each other.
            factor = 1.05 ** (number - (len(styles) - 1) / 2)
            for prefix, filled in (("ntk/limit_", True), ("ntk/", False)):
                _draw(axes, runs, prefix, style, factor, filled)
        size_ticks(axes, sizes)
        axes.minorticks_off()
        axes.set_xlabel("samples $N$")
        grid(axes)
    _legend(figure, styles)
    return figure


def _draw(
    axes: Axes, runs: pd.DataFrame, prefix: str, style: dict[str, Any], factor: float, filled: bool
) -> None:
    """One point per seed; a downward arrow at the resolution if λ_min is not above it."""
    colour = style["color"]
    face = colour if filled else "none"
    names = [f"{prefix}{name}" for name in ("lambda_min", "lambda_max", "resolution")]
    for _, run in runs.iterrows():
        if not set(names) <= set(run.index) or run[names].isna().any():
            continue
        value, scale, floor = (float(run[name]) for name in names)
        resolved = value > floor
        marker = style["marker"] if resolved else r"$\downarrow$"
        axes.plot(
            run[SAMPLES] * factor * (1 if filled else 1.02),
            max(value, floor) / scale,
            marker=marker,
            color=colour,
            markerfacecolor=face if resolved else colour,
            markersize=6 if resolved else 9,
            linestyle="",
        )


def _legend(figure: Figure, styles: Styles) -> None:
    handles = [Line2D([], [], **style, ls="", label=name) for name, style in styles.items()]
    grey: dict[str, Any] = {"color": "0.3", "ls": ""}
    handles += [
        Line2D([], [], **grey, marker="o", label=r"filled: $\Theta_\infty$"),
        Line2D([], [], **grey, marker="o", mfc="none", label=r"hollow: $\Theta_n$"),
        Line2D([], [], **grey, marker=r"$\downarrow$", markersize=9, label="not resolved: upper bound"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)


def _cases(column: str, activation: str, sets: Collection[str]) -> Statistic:
    """The column divided by λ_max(Θ_∞), one case per run on these data sets."""

    def measured(runs: pd.DataFrame) -> pd.Series:
        if not {DATASET, ACTIVATION, SAMPLES} <= set(runs):
            return pd.Series(dtype=float)
        cases = runs[runs[DATASET].isin([*sets]) & (runs[ACTIVATION] == activation)]
        values = done_values(cases, column) / done_values(cases, "ntk/limit_lambda_max")
        return values.set_axis(cases[DATASET] + " " + cases[SAMPLES].astype(str) + " " + replicate(cases))

    return measured


def _smallest(activation: str, sets: Collection[str]) -> Exact:
    return Exact(
        _cases("ntk/limit_lambda_min", activation, sets),
        _cases("ntk/limit_resolution", activation, sets),
        f"runs of {activation} on {', '.join(sets)}",
    )


def _positive(activation: str, sets: Collection[str], name: str, where: str, source: str) -> Claim:
    return Claim(
        f"{name}_{activation}",
        f"{activation}: the infinite-width NTK is positive definite {where}",
        source,
        "λ_min/λ_max of each case, with its resolution",
        _smallest(activation, sets),
        Above(0),
    )


def _singular(activation: str, sets: Collection[str], name: str, statement: str, source: str) -> Claim:
    return Claim(
        f"{name}_{activation}",
        f"{activation}: {statement}",
        source,
        "λ_min/λ_max of each case, with its resolution",
        _smallest(activation, sets),
        Below(SINGULAR),
    )


def _share_of_limit(activation: str) -> Claim:
    where = by_activation(activation)

    def least(runs: pd.DataFrame) -> float:
        generic = runs[runs[DATASET].isin(GENERIC)]
        ratio = done_values(generic, "ntk/lambda_min") / done_values(generic, "ntk/limit_lambda_min")
        unresolved = ~(
            done_values(generic, "ntk/limit_lambda_min") > done_values(generic, "ntk/limit_resolution")
        )
        return float(ratio.mask(unresolved).min(skipna=False))

    return Claim(
        f"network_{activation}",
        f"{activation}: a network of this width has at least half of the limit's λ_min",
        f"{PAPER}: λ_min(Θ_n) stays away from 0 if the width is large enough",
        "least λ_min(Θ_n)/λ_min(Θ_∞) over data sets and N",
        GeometricMean(of_each(least, where), f"runs of {activation}"),
        Above(0.5),
    )


_SUFFICIENT = f"{PAPER}: a non-polynomial activation makes the NTK strictly positive definite"
_ANY_DATA = "this suite: pairs x, −x make the NTK singular for odd activations only"
_NECESSARY = "the converse of the paper's condition, which requires a non-polynomial activation"
CLAIMS = Claims(
    "kernel_positivity",
    (
        *(
            _positive(phi, GENERIC, "positive", "on data without x and −x", _SUFFICIENT)
            for phi in ("tanh", "softplus", "gelu", "relu")
        ),
        _singular(
            "identity",
            NARROW,
            "rank",
            "the NTK is singular if N > d",
            f"{PAPER}: a linear activation is not sufficient",
        ),
        _singular("quadratic", GENERIC, "necessary", "a polynomial makes the NTK singular", _NECESSARY),
        _singular(
            "tanh", ANTIPODAL, "odd", "an odd activation's NTK is singular on data with x and −x", _ANY_DATA
        ),
        *(
            _positive(phi, ANTIPODAL, "antipodal", "on data with x and −x too", _ANY_DATA)
            for phi in ("softplus", "gelu", "relu")
        ),
        *(_share_of_limit(phi) for phi in ("tanh", "softplus", "gelu", "relu")),
    ),
)
paper = WithVerdicts(report, CLAIMS)
