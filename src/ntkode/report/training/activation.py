"""The report of experiment=paper/activation: activations at σ = 1 and at matched scales."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkode.report.base import Report
from ntkode.report.claims.claims import PAPER, Above, Claim, Claims
from ntkode.report.claims.verdicts import with_verdicts
from ntkode.report.figures.paper_panels import blank, draw_by_name, legend
from ntkode.report.figures.style import DECAY_RATE_FORMULA, GRADIENT_ERROR_FORMULA, frame, styles_of
from ntkode.report.statistics.intervals import GeometricMean, Statistic
from ntkode.report.statistics.replicates import ratio, value
from ntkode.report.tables.comparison import Column
from ntkode.report.tables.labels import numbers
from ntkode.report.tables.medians import median_report
from ntkode.report.training.claims import HISTORY, RATE, with_ratios
from ntkode.report.training.columns import (
    ACCURACY_COLUMN,
    GRADIENT_ERROR,
    GRADIENT_ERROR_COLUMN,
    LAMBDA_MIN_COLUMN,
    LOSS_RATIO_COLUMN,
    RATE_COLUMN,
    SECONDS_COLUMN,
    SHARE_COLUMN,
)
from ntkode.results import Status, load_history

NAME = "activation"
ACTIVATION, MATCH = "config.choices.activation", "config.choices.match"
SMOOTH = ("tanh", "softplus", "gelu", "silu")
KINKED = "relu"
SCALES = {"none": "σ = 1", "ntk": "matched", "hidden": "hidden matched"}
MEASURES = (
    LOSS_RATIO_COLUMN,
    RATE_COLUMN,
    ACCURACY_COLUMN,
    LAMBDA_MIN_COLUMN,
    SHARE_COLUMN,
    Column("ntk/condition_number.first", "condition number", "λ_max/\nλ_min"),
    GRADIENT_ERROR_COLUMN,
    Column("output/variance.first", "output variance", "output\nvar."),
    SECONDS_COLUMN,
)
PANELS: Sequence[tuple[str, str, str, bool]] = (
    ("loss/ratio", "Training loss at the end", "$L\\,/\\,L_0$", True),
    (RATE, "Decay rate at the end", DECAY_RATE_FORMULA, True),
    ("accuracy/test", "Test accuracy", "share of test samples", False),
    ("ntk/lambda_min.first", "Smallest eigenvalue of the NTK (probe)", r"$\lambda_{\min}(\Theta_0)$", True),
    (
        "ntk/condition_number.first",
        "Condition number of the NTK",
        r"$\lambda_{\max}\,/\,\lambda_{\min}$",
        True,
    ),
    (
        GRADIENT_ERROR,
        "Relative error of the gradient",
        GRADIENT_ERROR_FORMULA,
        True,
    ),
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The tables `activation` (one row per run), `activation_medians` and the verdicts; the figure."""
    runs = with_ratios(runs, load_history(results_dir, runs["run_id"], columns=HISTORY))
    keys = {ACTIVATION: "activation", MATCH: "scales"}
    base = median_report(NAME, runs, keys, MEASURES, figure(runs))
    return with_verdicts(base, claims(runs), runs)


def claims(runs: pd.DataFrame) -> Claims:
    """For each scale among the runs: smooth φ train faster than relu and have more accurate gradients."""
    tested: list[Claim] = []
    tried = set(runs[ACTIVATION])
    for match in runs[MATCH].dropna().unique():
        at_scale, scale = {MATCH: match}, SCALES.get(match, match)
        needs = f"runs of {KINKED} and of smooth activations with several seeds"
        kinked = {**at_scale, ACTIVATION: KINKED}
        for activation in (name for name in SMOOTH if name in tried):
            smooth = {**at_scale, ACTIVATION: activation}
            tested.append(
                Claim(
                    f"{activation}_trains_better_{match}",
                    f"{scale}: {activation}, which is smooth, trains faster than {KINKED}",
                    PAPER,
                    f"decay rate at the end, {activation} / {KINKED}, paired by seed",
                    GeometricMean(ratio(value(RATE, smooth), value(RATE, kinked)), needs),
                    Above(1.0),
                )
            )
        tested.append(
            Claim(
                f"{KINKED}_gradient_error_{match}",
                f"{scale}: {KINKED}'s gradient is less accurate than that of every smooth activation",
                PAPER,
                f"gradient error at the start, {KINKED} / largest of the smooth ones",
                GeometricMean(ratio(value(GRADIENT_ERROR, kinked), _largest(at_scale, tried)), needs),
                Above(1.0),
            )
        )
    return Claims(NAME, tuple(tested))


def _largest(where: dict[str, object], tried: set[str]) -> Statistic:
    """The largest gradient error among the smooth activations, in each replicate."""
    errors = [value(GRADIENT_ERROR, {**where, ACTIVATION: name}) for name in SMOOTH if name in tried]

    def measured(runs: pd.DataFrame) -> pd.Series:
        columns = [error(runs) for error in errors]
        return pd.concat(columns, axis=1).max(axis=1, skipna=False) if columns else pd.Series(dtype=float)

    return measured


def figure(runs: pd.DataFrame) -> Figure:
    """Six panels, one column per activation; a × marks an activation without a done run.

    Args:
        runs: what `ntkode.results.load` returns.
    """
    picture, panels = blank(2, 3, (13.5, 7.6))
    done = runs[runs["status"] == Status.DONE]
    places = [str(name) for name in runs[ACTIVATION].dropna().unique()]
    styles = styles_of([SCALES.get(m, str(m)) for m in runs[MATCH].dropna().unique()])
    name = done[MATCH].map(lambda match: SCALES.get(match, match))
    for axes, (column, title, ylabel, log) in zip(panels, PANELS, strict=True):
        points = pd.DataFrame({"place": done[ACTIVATION], "y": numbers(done, column), "name": name})
        draw_by_name(axes, points, places, styles, log=log)
        frame(axes, title, ylabel)
    missing = Line2D([], [], ls="", marker="x", color="0.4", label="no done run")
    legend(picture, styles, *([missing] if len(done) < len(runs) else []))
    return picture
