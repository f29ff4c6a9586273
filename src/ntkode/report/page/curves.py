"""Training curves as data for the page's charts: by run and panel, with what tells the runs apart."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ntkode.report.figures.style import COLOURS
from ntkode.report.tables.comparison import comparison
from ntkode.report.tables.rendering import missing, written

MOST_POINTS = 200
"""Of a curve: more cannot be told apart at a chart's width."""
MOST_VALUES = 12
"""Of a setting that has switches."""
_DIGITS = 4
_TOLD = ("status", "run_id", "message", "remedy")
_SEEDS = ("seed", "dataset.seed")


@dataclass(frozen=True)
class Panel:
    """A chart.

    Attributes:
        metric: the column of the history.
        title: above it.
        unit: the formula, for its vertical axis; what follows a `_` is an index.
        logarithmic: whether that axis is.
        dashed: a column to draw dashed beside it, such as a prediction.
        floor: a column that holds the value under which the metric is noise.
    """

    metric: str
    title: str
    unit: str
    logarithmic: bool = True
    dashed: str | None = None
    floor: str | None = None


PANELS = (
    Panel("loss/ratio", "Training loss", "L_k / L_0", dashed="loss/predicted_ratio"),
    Panel("ntk/lambda_min", "Smallest eigenvalue of the NTK", "λ_min", floor="ntk/resolution"),
    Panel("gradient/relative_error", "Relative error of the gradient", "‖g − g_ref‖ / ‖g_ref‖"),
    Panel("ntk/drift", "Relative change of the NTK", "‖Θ_k − Θ_0‖ / ‖Θ_0‖", logarithmic=False),
)


def curves(runs: pd.DataFrame, history: pd.DataFrame) -> dict[str, Any] | None:
    """What the charts draw, ready for JSON; None where no metric was measured at three steps or more.

    Args:
        runs: what `ntkode.results.load` returns.
        history: what `ntkode.results.load_history` returns for these runs.
    """
    run_ids = [str(run_id) for run_id in runs["run_id"]]
    by_run = {str(run_id): own for run_id, own in history.sort_values("step").groupby("run_id")}
    panels = [told for panel in PANELS if (told := _panel(panel, run_ids, by_run))]
    if not any(len(series["x"]) >= 3 for panel in panels for series in panel["series"]):
        return None
    factors = _factors(runs)
    return {
        "runs": run_ids,
        "factors": factors,
        "colours": _colours(factors, len(run_ids)),
        "dashes": any(series["dashed"] for panel in panels for series in panel["series"]),
        "panels": panels,
    }


def _panel(panel: Panel, run_ids: list[str], by_run: dict[str, pd.DataFrame]) -> dict[str, Any] | None:
    series = []
    for number, run_id in enumerate(run_ids):
        own = by_run.get(run_id, pd.DataFrame())
        for metric, dashed in ((panel.metric, False), (panel.dashed, True)):
            if metric and metric in own and (drawn := _series(own, metric, panel, number, dashed)):
                series.append(drawn)
    if not series:
        return None
    return {
        "title": panel.title,
        "unit": panel.unit,
        "logarithmic": panel.logarithmic,
        "series": series,
    }


def _series(own: pd.DataFrame, metric: str, panel: Panel, number: int, dashed: bool) -> dict[str, Any] | None:
    """A run's curve; values at or below the floor are drawn at it, and `noise` tells which."""
    floor = own[panel.floor].astype(float) if panel.floor in own else pd.Series(-math.inf, own.index)
    values = own[metric].astype(float)
    noise = values <= floor
    values = values.mask(noise, floor)
    drawable = np.isfinite(values) & ((values > 0) | (not panel.logarithmic))
    kept = _thinned(np.flatnonzero(drawable))
    if not len(kept):
        return None
    return {
        "run": number,
        "dashed": dashed,
        "x": [int(step) for step in own["step"].iloc[kept]],
        "y": [float(f"{value:.{_DIGITS}g}") for value in values.iloc[kept]],
        "noise": [place for place, at in enumerate(kept) if noise.iloc[at]],
    }


def _thinned(places: np.ndarray) -> np.ndarray:
    """At most `MOST_POINTS` of them, evenly, with the first and the last."""
    if len(places) <= MOST_POINTS:
        return places
    return places[np.unique(np.linspace(0, len(places) - 1, MOST_POINTS).round().astype(int))]


def _factors(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The settings in which the runs differ, and each run's value of them."""
    table = comparison(runs, ()).drop(columns=list(_TOLD))
    texts = written(table)
    factors = []
    for name in table:
        values = list(dict.fromkeys(texts[name]))
        if not 2 <= len(values) <= MOST_VALUES:
            continue
        if not any(missing(value) or isinstance(value, str) for value in table[name]):
            values = [text for _, text in sorted(set(zip(table[name], texts[name], strict=True)))]
        told = {"name": str(name), "values": values, "of": [values.index(text) for text in texts[name]]}
        factors.append(told)
    return factors


def _colours(factors: list[dict[str, Any]], runs: int) -> dict[str, Any]:
    """Each run's colour, by the first setting that is no seed: where activations differ, that is they."""
    telling = next((k for k, factor in enumerate(factors) if factor["name"] not in _SEEDS), None)
    if telling is None:
        return {"factor": None, "of": [COLOURS[0]] * runs}
    return {"factor": telling, "of": [COLOURS[value % len(COLOURS)] for value in factors[telling]["of"]]}
