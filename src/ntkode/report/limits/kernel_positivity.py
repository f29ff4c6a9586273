"""The report of study=kernel_positivity: λ_min over λ_max, with the resolution under which it is not told."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich import box
from rich.console import Group
from rich.table import Table

from ntkode.report.base import Report
from ntkode.report.claims.claims import PAPER, Above, Below, Claim, Claims
from ntkode.report.claims.verdicts import WithVerdicts
from ntkode.report.figures.style import COLOURS, MARKERS, frame, grid
from ntkode.report.formatting import MISSING, three_digits
from ntkode.report.statistics.intervals import Exact, GeometricMean, Statistic
from ntkode.report.statistics.replicates import by_activation, done_values, of_each
from ntkode.report.tables.comparison import Column, comparison, failures
from ntkode.results import Status

DATASET, ACTIVATION, SAMPLES = "config.choices.dataset", "config.choices.activation", "config.n_train"
GENERIC = ("mnist", "mnist_7x7", "sphere")
"""Data without antipodal pairs."""
ANTIPODAL = ("sphere_antipodal",)
NARROW = ("mnist_7x7", "sphere", "sphere_antipodal")
"""Data of fewer features than samples, at all sizes of the experiment."""
SINGULAR = 1e-7
"""λ_min/λ_max under which a kernel counts as singular: above the resolution, below all that is resolved."""

_COLUMNS = tuple(
    Column(f"{prefix}{name}", f"{label} {name.replace('_', ' ')}", "")
    for prefix, label in (("ntk/limit_", "NTK limit"), ("nngp/limit_", "NNGP limit"), ("ntk/", "NTK"))
    for name in ("lambda_min", "lambda_max", "resolution", "rank")
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """`kernel_positivity.csv`, a row a run, and the picture as `kernel_positivity.png` and `.pdf`."""
    table = comparison(runs, (*_COLUMNS, Column("cost/run_seconds", "seconds", "")))
    done = runs[runs["status"] == Status.DONE]
    shown = Group(_shown(done), *failures(table))
    return Report("kernel_positivity", {"kernel_positivity": table}, shown, positivity_figure(done))


def _shown(done: pd.DataFrame) -> Table:
    """Medians over seeds of λ_min(Θ_∞)/λ_max; where some seed's is not resolved, its bound and the rank."""
    title = "λ_min/λ_max of the infinite-width NTK, medians over seeds; < (and the rank) where not resolved"
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, title=title)
    table.add_column("data", no_wrap=True)
    table.add_column("N", justify="right")
    names = _values(done, ACTIVATION)
    for name in names:
        table.add_column(str(name), justify="right", no_wrap=True)
    for data in _values(done, DATASET):
        for n in sorted(_values(done, SAMPLES)):
            own = done[(done[DATASET] == data) & (done[SAMPLES] == n)]
            cells = (_cell(own[own[ACTIVATION] == name]) for name in names)
            table.add_row(str(data), str(n), *cells)
    return table


def _cell(runs: pd.DataFrame) -> str:
    if runs.empty or "ntk/limit_lambda_min" not in runs:
        return MISSING
    scale, floor = runs["ntk/limit_lambda_max"], runs["ntk/limit_resolution"]
    if (runs["ntk/limit_lambda_min"] > floor).all():
        return three_digits((runs["ntk/limit_lambda_min"] / scale).median())
    return f"<{three_digits((floor / scale).median())} ({runs['ntk/limit_rank'].median():g})"


def _values(runs: pd.DataFrame, column: str) -> list[Any]:
    return list(runs[column].dropna().unique()) if column in runs else []


def positivity_figure(done: pd.DataFrame) -> Figure:
    """A panel a data set: λ_min/λ_max against N, Θ_∞ filled, Θ_n hollow, arrows where not resolved."""
    figure = Figure(figsize=(11, 7.6), layout="constrained")
    FigureCanvasAgg(figure)  # a canvas of its own: nothing of pyplot's global state
    sets, names = _values(done, DATASET), _values(done, ACTIVATION)
    columns = 2 if len(sets) > 1 else 1
    rows = max(1, -(-len(sets) // columns))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    for axes, data in zip(panels, sets, strict=False):
        frame(axes, str(data), r"$\lambda_{\min}\,/\,\lambda_{\max}$")
        axes.set_yscale("log")
        axes.set_xscale("log")
        sizes = sorted(_values(done, SAMPLES))
        for number, name in enumerate(names):
            own = done[(done[DATASET] == data) & (done[ACTIVATION] == name)]
            beside = 1.05 ** (number - (len(names) - 1) / 2)  # so that activations do not hide each other
            for prefix, filled in (("ntk/limit_", True), ("ntk/", False)):
                _draw(axes, own, prefix, number, beside, filled)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("samples $N$")
        grid(axes)
    _legend(figure, names)
    return figure


def _draw(axes: Axes, runs: pd.DataFrame, prefix: str, number: int, beside: float, filled: bool) -> None:
    """Points a seed, at the resolution with an arrow downwards where λ_min is not above it."""
    colour = COLOURS[number % len(COLOURS)]
    face = colour if filled else "none"
    names = [f"{prefix}{name}" for name in ("lambda_min", "lambda_max", "resolution")]
    for _, run in runs.iterrows():
        if not set(names) <= set(run.index) or run[names].isna().any():
            continue
        value, scale, floor = (float(run[name]) for name in names)
        resolved = value > floor
        marker = MARKERS[number % len(MARKERS)] if resolved else r"$\downarrow$"
        axes.plot(
            run[SAMPLES] * beside * (1 if filled else 1.02),
            max(value, floor) / scale,
            marker=marker,
            color=colour,
            markerfacecolor=face if resolved else colour,
            markersize=6 if resolved else 9,
            linestyle="",
        )


def _legend(figure: Figure, names: list[Any]) -> None:
    handles = [
        Line2D([], [], color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)], ls="", label=str(n))
        for k, n in enumerate(names)
    ]
    grey: dict[str, Any] = {"color": "0.3", "ls": ""}
    handles += [
        Line2D([], [], **grey, marker="o", label=r"filled: $\Theta_\infty$"),
        Line2D([], [], **grey, marker="o", mfc="none", label=r"hollow: $\Theta_n$"),
        Line2D([], [], **grey, marker=r"$\downarrow$", markersize=9, label="not resolved: at most"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)


def _cases(column: str, activation: str, sets: Collection[str]) -> Statistic:
    """The column over λ_max(Θ_∞), a case a run of these data sets."""

    def measured(runs: pd.DataFrame) -> pd.Series:
        if not {DATASET, ACTIVATION, SAMPLES} <= set(runs):
            return pd.Series(dtype=float)
        own = runs[runs[DATASET].isin([*sets]) & (runs[ACTIVATION] == activation)]
        values = done_values(own, column) / done_values(own, "ntk/limit_lambda_max")
        seeds = own.get("config.seed", pd.Series(0, own.index)).astype(str)
        return values.set_axis(own[DATASET] + " " + own[SAMPLES].astype(str) + " seed " + seeds)

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
        own = runs[runs[DATASET].isin(GENERIC)]
        ratio = done_values(own, "ntk/lambda_min") / done_values(own, "ntk/limit_lambda_min")
        unresolved = ~(done_values(own, "ntk/limit_lambda_min") > done_values(own, "ntk/limit_resolution"))
        return float(ratio.mask(unresolved).min(skipna=False))

    return Claim(
        f"network_{activation}",
        f"{activation}: a network of this width keeps at least half of the limit's λ_min",
        f"{PAPER}: λ_min(Θ_n) stays away from 0 where the width is large enough",
        "least λ_min(Θ_n)/λ_min(Θ_∞) over data sets and N",
        GeometricMean(of_each(least, where), f"runs of {activation}"),
        Above(0.5),
    )


_SUFFICIENT = f"{PAPER}: a non-polynomial activation makes the NTK strictly positive definite"
_ANY_DATA = "this suite: pairs x, −x break odd activations alone"
_NECESSARY = "the converse of the paper's condition, which asks for a non-polynomial activation"
CLAIMS = Claims(
    "kernel_positivity",
    (
        *(
            _positive(phi, GENERIC, "positive", "on data without x and −x", _SUFFICIENT)
            for phi in ("tanh", "softplus", "gelu", "relu")
        ),
        _singular(
            "identity", NARROW, "rank", "the NTK is singular where N > d", f"{PAPER}: linearity is too little"
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
