"""The report of experiment=paper/activation_gradient: does relu's gradient error change its loss?"""

import math
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ntkode.report.base import Report
from ntkode.report.claims.claims import PAPER, Above, Claim, Claims
from ntkode.report.claims.verdicts import with_verdicts
from ntkode.report.figures.paper_panels import blank, draw_by_name, draw_curves, finish_losses, legend
from ntkode.report.figures.style import GRADIENT_ERROR_FORMULA, frame, styles_of
from ntkode.report.statistics.intervals import GeometricMean
from ntkode.report.statistics.replicates import ratio, replicate, value
from ntkode.report.tables.comparison import Column
from ntkode.report.tables.labels import numbers
from ntkode.report.tables.medians import median_report
from ntkode.report.training.activation import ACTIVATION, MATCH, SCALES
from ntkode.report.training.claims import HISTORY
from ntkode.report.training.columns import (
    ACCURACY_COLUMN,
    GRADIENT_ERROR,
    GRADIENT_ERROR_COLUMN,
    LOSS_RATIO_COLUMN,
    RATE_COLUMN,
    SECONDS_COLUMN,
)
from ntkode.results import Status, load_history

NAME = "activation_gradient"
METHOD = "config.choices.gradient"
ORDINARY, ACCURATE = "backprop", "kink_averaged"
GAP = "sup |ΔL| / L₀"
VISIBLE = 0.01
"""Difference of two loss curves, relative to L_0, above which it counts as visible."""
MEASURES = (
    GRADIENT_ERROR_COLUMN,
    Column(GAP, "loss gap", "sup |ΔL|\n/ L₀"),
    LOSS_RATIO_COLUMN,
    RATE_COLUMN,
    ACCURACY_COLUMN,
    SECONDS_COLUMN,
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The tables `activation_gradient` (one row per run), medians and verdicts; the figure."""
    history = load_history(results_dir, runs["run_id"], columns=HISTORY)
    runs = with_gap(runs, history)
    keys = {ACTIVATION: "activation", MATCH: "scales", METHOD: "gradient"}
    base = median_report(NAME, runs, keys, MEASURES, figure(runs, history))
    return with_verdicts(base, claims(runs), runs)


def with_gap(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The runs with a column `GAP`: sup_k |L_k − L'_k| / L_0, L' the loss with `ACCURATE` gradients.

    Only `ORDINARY` runs have a value, from the pair with equal activation, scales and replicate; NaN if a
    run of the pair is not done.
    """
    done = runs[runs["status"] == Status.DONE]
    key = [ACTIVATION, MATCH, "replicate"]
    named = done.assign(replicate=replicate(done))[[*key, METHOD, "run_id"]]
    pairs = named[named[METHOD] == ORDINARY].merge(
        named[named[METHOD] == ACCURATE], on=key, suffixes=("", "_accurate")
    )
    curves = (
        history.pivot(index="step", columns="run_id", values="loss/train") if len(pairs) else pd.DataFrame()
    )
    gaps = {
        one: float((curves[one] - curves[other]).abs().max() / curves[one].iloc[0])
        for one, other in zip(pairs["run_id"], pairs["run_id_accurate"], strict=True)
    }
    return runs.assign(**{GAP: runs["run_id"].map(lambda run_id: gaps.get(run_id, math.nan))})


def claims(runs: pd.DataFrame) -> Claims:
    """For each activation and scale among the runs: the gradient has an error, and it changes the loss."""
    tested: list[Claim] = []
    for activation in runs[ACTIVATION].dropna().unique():
        for match in runs[MATCH].dropna().unique():
            pair, scale = {ACTIVATION: activation, MATCH: match}, SCALES.get(match, match)
            needs = f"runs of {activation} with gradient={ORDINARY} and gradient={ACCURATE} and several seeds"
            ordinary, accurate = ({**pair, METHOD: method} for method in (ORDINARY, ACCURATE))
            tested += [
                Claim(
                    f"{activation}_gradient_error_{match}",
                    f"{scale}: {activation}'s gradient by {ORDINARY} is less accurate than by {ACCURATE}",
                    "ntkode (docs/perf/gradients.md)",
                    f"gradient error at the start, {ORDINARY} / {ACCURATE}",
                    GeometricMean(
                        ratio(value(GRADIENT_ERROR, ordinary), value(GRADIENT_ERROR, accurate)), needs
                    ),
                    Above(1.0),
                ),
                Claim(
                    f"{activation}_error_shows_{match}",
                    f"{scale}: {activation}'s gradient error visibly changes its loss",
                    PAPER,
                    f"largest distance between the loss curves of {ORDINARY} and {ACCURATE} / L₀",
                    GeometricMean(value(GAP, ordinary), needs),
                    Above(VISIBLE),
                ),
            ]
    return Claims(NAME, tuple(tested))


def figure(runs: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Three panels: gradient error by method, loss curves by method, the largest distance between them.

    Args:
        runs: with the column of `with_gap`.
        history: what `ntkode.results.load_history` returns for these runs.
    """
    picture, (errors, losses, gaps) = blank(1, 3, (13.5, 4.4))
    done = runs[runs["status"] == Status.DONE]
    methods = [str(name) for name in runs[METHOD].dropna().unique()]
    styles = styles_of(methods)
    scales = runs[MATCH].dropna().unique()
    places = [SCALES.get(match, str(match)) for match in scales]
    place = done[MATCH].map(lambda match: SCALES.get(match, match))
    for axes, column in ((errors, GRADIENT_ERROR), (gaps, GAP)):
        points = pd.DataFrame({"place": place, "y": numbers(done, column), "name": done[METHOD]})
        if column == GAP:
            points = points[points["name"] == ORDINARY]
        draw_by_name(axes, points, places, {m: styles[m] for m in points["name"].unique()})
    frame(errors, "Relative error of the gradient", GRADIENT_ERROR_FORMULA)
    frame(gaps, "Distance of the two loss curves", r"$\sup_k|L_k - L'_k|\,/\,L_0$")
    gaps.axhline(VISIBLE, color="0.5", ls=(0, (4, 3)), lw=1)
    gaps.annotate(
        f"visible: {VISIBLE:.0%}", (0, VISIBLE), xycoords=("axes fraction", "data"), xytext=(3, 3),
        textcoords="offset points", color="0.4", fontsize=9,
    )  # fmt: skip
    for match, dashes in zip(scales, ("-", (0, (5, 3)), (0, (1, 1))), strict=False):
        at_scale = done[done[MATCH] == match]
        for number, method in enumerate(methods):
            names = dict.fromkeys(at_scale.loc[at_scale[METHOD] == method, "run_id"], method)
            # The curves coincide: draw the first broad and pale, below the second.
            options = (
                {"linewidth": 5, "alpha": 0.35} if number == 0 else {"linewidth": 1.3, "linestyle": dashes}
            )
            draw_curves(losses, history, names, "loss/ratio", styles, **options)
    finish_losses(losses, "Training loss" + (" (dashed: matched)" if len(scales) > 1 else ""))
    legend(picture, styles)
    return picture
