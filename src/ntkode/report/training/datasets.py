"""The report of experiment=paper/datasets: do the results on MNIST hold on other data sets?"""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkode.report.base import Report
from ntkode.report.claims.claims import Claim, Claims
from ntkode.report.claims.verdicts import with_verdicts
from ntkode.report.figures.paper_panels import blank, draw_by_name, draw_curves, legend
from ntkode.report.figures.style import (
    DECAY_RATE_FORMULA,
    DRIFT_FORMULA,
    LOSS_RATIO_FORMULA,
    frame,
    grid,
    styles_of,
)
from ntkode.report.tables.labels import numbers
from ntkode.report.tables.medians import median_report
from ntkode.report.training.activation import ACTIVATION
from ntkode.report.training.claims import (
    EXCESS,
    GUARANTEED,
    HISTORY,
    LEAST_SHARE,
    RATE,
    SHARE,
    converges,
    least,
    stays_positive,
    with_ratios,
)
from ntkode.report.training.columns import CONVERGENCE_COLUMNS, GRADIENT_ERROR_COLUMN, TEST_COLUMNS
from ntkode.results import Status, load_history

NAME = "datasets"
DATASET = "config.choices.dataset"
MEASURES = (*CONVERGENCE_COLUMNS, GRADIENT_ERROR_COLUMN, *TEST_COLUMNS)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The tables `datasets` (one row per run), `datasets_medians` and the verdicts; the figure."""
    history = load_history(results_dir, runs["run_id"], columns=HISTORY)
    runs = with_ratios(runs, history)
    keys = {DATASET: "data", ACTIVATION: "activation"}
    base = median_report(NAME, runs, keys, MEASURES, figure(runs, history))
    return with_verdicts(base, claims(runs), runs)


def claims(runs: pd.DataFrame) -> Claims:
    """Linear convergence and a positive λ_min on each data set, for the worst activation on it."""
    tested: list[Claim] = []
    for name in runs[DATASET].dropna().unique():
        where = f"{name}, every activation: "
        needs = f"runs on {name} with several seeds, all done"
        tested += [
            converges(name, where, least(EXCESS, runs, ACTIVATION, {DATASET: name}), needs),
            stays_positive(name, where, least(SHARE, runs, ACTIVATION, {DATASET: name}), needs),
        ]
    return Claims(NAME, tuple(tested))


def figure(runs: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Top: loss curves on each data set. Bottom: decay rate, λ_min at the start, its smallest share, drift.

    Args:
        runs: with the columns of `with_ratios`.
        history: what `ntkode.results.load_history` returns for these runs.
    """
    places = [str(name) for name in runs[DATASET].dropna().unique()]
    columns = max(4, len(places))
    picture, panels = blank(2, columns, (3.6 * columns, 7.6))
    styles = styles_of([str(name) for name in runs[ACTIVATION].dropna().unique()])
    done = runs[runs["status"] == Status.DONE]
    for axes, place in zip(panels, places, strict=False):
        selected = done[done[DATASET] == place]
        names = dict(zip(selected["run_id"], selected[ACTIVATION], strict=True))
        if selected.empty:
            axes.text(0.5, 0.5, "no done run", transform=axes.transAxes, ha="center", color="0.5")
        else:
            draw_curves(axes, history, names, "loss/ratio", styles)
            dashed = {"linestyle": (0, (3, 2)), "linewidth": 1.0}
            draw_curves(axes, history, names, "loss/predicted_ratio", styles, shade=0, **dashed)
            grid(axes)
        axes.set_xlabel("training step $k$")
        frame(axes, place, LOSS_RATIO_FORMULA if place == places[0] else "")
    titles = {
        RATE: ("Decay rate at the end (thin: guaranteed)", DECAY_RATE_FORMULA, True),
        "ntk/lambda_min.first": ("λ_min of the NTK (probe)", r"$\lambda_{\min}(\Theta_0)$", True),
        SHARE: (
            "Least λ_min in training",
            r"$\min_k\lambda_{\min}(\Theta_k)/\lambda_{\min}(\Theta_0)$",
            False,
        ),
        "ntk/drift": ("Change of the NTK", DRIFT_FORMULA, True),
    }
    for axes, (column, (title, ylabel, log)) in zip(panels[columns:], titles.items(), strict=False):
        points = pd.DataFrame({"place": done[DATASET], "y": numbers(done, column), "name": done[ACTIVATION]})
        draw_by_name(axes, points, places, styles, log=log)
        frame(axes, title, ylabel)
    rates, _, share, _ = panels[columns : columns + 4]
    for at, place in enumerate(places):
        for k, (name, style) in enumerate(styles.items()):
            selected = done[(done[DATASET] == place) & (done[ACTIVATION] == name)]
            middle = at + 0.7 * ((k + 0.5) / len(styles) - 0.5)
            for bound in numbers(selected, GUARANTEED).loc[lambda rates: rates > 0]:
                rates.plot([middle - 0.1, middle + 0.1], [bound] * 2, color=style["color"], lw=0.8)
    share.axhline(LEAST_SHARE, color="0.5", ls=(0, (4, 3)), lw=1)
    share.set_ylim(0, None)
    for axes in panels[columns + 4 :]:
        axes.set_axis_off()
    legend(
        picture,
        styles,
        Line2D([], [], color="0.4", ls=(0, (3, 2)), label="predicted by the NTK at the start"),
    )
    return picture
