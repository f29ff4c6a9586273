"""Training curves as data for the page's charts, with the settings in which the runs differ."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ntkode.report.figures.style import COLOURS
from ntkode.report.tables.comparison import comparison
from ntkode.report.tables.rendering import as_text, missing

MOST_POINTS = 200
"""Most points of a curve; more are not visible at a chart's width."""
MOST_VALUES = 12
"""Most values of a setting with switches on the page."""
_DIGITS = 4
_OUTCOME = ("status", "run_id", "message", "remedy")
_SEEDS = ("seed", "dataset.seed")


@dataclass(frozen=True)
class Panel:
    """A chart of one metric.

    Attributes:
        metric: the column of the history.
        title: the title above the chart.
        unit: the formula, as label of the vertical axis; text after a `_` is an index.
        logarithmic: whether the vertical axis is logarithmic.
        dashed: a second column, drawn dashed, such as a prediction.
        floor: the column of the value below which the metric is noise.
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
    """The data of the charts, serialisable as JSON; None if no metric was measured at three steps or more.

    Args:
        runs: what `ntkode.results.load` returns.
        history: what `ntkode.results.load_history` returns for these runs.
    """
    run_ids = [str(run_id) for run_id in runs["run_id"]]
    by_run = {str(run_id): rows for run_id, rows in history.sort_values("step").groupby("run_id")}
    panels = [data for panel in PANELS if (data := _panel(panel, run_ids, by_run))]
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
        rows = by_run.get(run_id, pd.DataFrame())
        for metric, dashed in ((panel.metric, False), (panel.dashed, True)):
            if metric and metric in rows and (drawn := _series(rows, metric, panel, number, dashed)):
                series.append(drawn)
    if not series:
        return None
    return {
        "title": panel.title,
        "unit": panel.unit,
        "logarithmic": panel.logarithmic,
        "series": series,
    }


def _series(
    rows: pd.DataFrame, metric: str, panel: Panel, number: int, dashed: bool
) -> dict[str, Any] | None:
    """The curve of one run; values at or below the floor are raised to it and listed in `noise`."""
    floor = rows[panel.floor].astype(float) if panel.floor in rows else pd.Series(-math.inf, rows.index)
    values = rows[metric].astype(float)
    noise = values <= floor
    values = values.mask(noise, floor)
    drawable = np.isfinite(values) & ((values > 0) | (not panel.logarithmic))
    kept = _thinned(np.flatnonzero(drawable))
    if not len(kept):
        return None
    return {
        "run": number,
        "dashed": dashed,
        "x": [int(step) for step in rows["step"].iloc[kept]],
        "y": [float(f"{value:.{_DIGITS}g}") for value in values.iloc[kept]],
        "noise": [place for place, at in enumerate(kept) if noise.iloc[at]],
    }


def _thinned(places: np.ndarray) -> np.ndarray:
    """At most `MOST_POINTS` of the places, evenly spaced, with the first and the last."""
    if len(places) <= MOST_POINTS:
        return places
    return places[np.unique(np.linspace(0, len(places) - 1, MOST_POINTS).round().astype(int))]


def _factors(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The settings in which the runs differ, with the value of each run."""
    table = comparison(runs, ()).drop(columns=list(_OUTCOME))
    texts = as_text(table)
    factors = []
    for name in table:
        values = list(dict.fromkeys(texts[name]))
        if not 2 <= len(values) <= MOST_VALUES:
            continue
        if not any(missing(value) or isinstance(value, str) for value in table[name]):
            values = [text for _, text in sorted(set(zip(table[name], texts[name], strict=True)))]
        of = [values.index(text) for text in texts[name]]
        factors.append({"name": str(name), "values": values, "of": of})
    return factors


def _colours(factors: list[dict[str, Any]], runs: int) -> dict[str, Any]:
    """The colour of each run, by the first setting except seeds; the activation, if activations differ."""
    factor = next((k for k, f in enumerate(factors) if f["name"] not in _SEEDS), None)
    if factor is None:
        return {"factor": None, "of": [COLOURS[0]] * runs}
    return {"factor": factor, "of": [COLOURS[value % len(COLOURS)] for value in factors[factor]["of"]]}
