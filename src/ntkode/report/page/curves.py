"""Training curves as data for the page's charts, with the settings in which the runs differ."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ntkode.report.figures.style import COLOURS
from ntkode.report.tables.factors import SEEDS, factors_of

MOST_POINTS = 200
"""Most points of a curve; more are not visible at a chart's width."""
_DIGITS = 4


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
COLUMNS = ("step", *(name for p in PANELS for name in (p.metric, p.dashed, p.floor) if name))
"""Columns of the history that the charts show."""
Columns = dict[str, np.ndarray]


def curves(runs: pd.DataFrame, history: pd.DataFrame) -> dict[str, Any] | None:
    """The data of the charts, serialisable as JSON; None if no metric was measured at three steps or more.

    Args:
        runs: what `ntkode.results.load` returns.
        history: what `ntkode.results.load_history` returns for these runs.
    """
    run_ids = [str(run_id) for run_id in runs["run_id"]]
    by_run = _arrays(history)
    panels = [data for panel in PANELS if (data := _panel(panel, run_ids, by_run))]
    if not any(len(series["x"]) >= 3 for panel in panels for series in panel["series"]):
        return None
    factors = [asdict(factor) for factor in factors_of(runs)]
    return {
        "runs": run_ids,
        "factors": factors,
        "colours": _colours(factors, len(run_ids)),
        "dashes": any(series["dashed"] for panel in panels for series in panel["series"]),
        "panels": panels,
    }


def _arrays(history: pd.DataFrame) -> dict[str, Columns]:
    """The columns of each run by run_id, in the order of the steps; pandas is slow on thousands of runs."""
    ordered = history.sort_values("step")
    drawn = [name for name in COLUMNS if name in ordered]
    values = {name: ordered[name].to_numpy(dtype=float) for name in drawn}
    places = ordered.groupby("run_id").indices
    return {str(run_id): {name: values[name][at] for name in drawn} for run_id, at in places.items()}


def _panel(panel: Panel, run_ids: list[str], by_run: dict[str, Columns]) -> dict[str, Any] | None:
    series = []
    for number, run_id in enumerate(run_ids):
        rows = by_run.get(run_id, {})
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


def _series(rows: Columns, metric: str, panel: Panel, number: int, dashed: bool) -> dict[str, Any] | None:
    """The curve of one run; values at or below the floor are raised to it and listed in `noise`."""
    floor = rows.get(panel.floor or "", np.array(-math.inf))
    noise = rows[metric] <= floor
    values = np.where(noise, floor, rows[metric])
    drawable = np.isfinite(values) & ((values > 0) | (not panel.logarithmic))
    kept = _thinned(np.flatnonzero(drawable))
    if not len(kept):
        return None
    return {
        "run": number,
        "dashed": dashed,
        "x": rows["step"][kept].astype(int).tolist(),
        "y": [float(f"{value:.{_DIGITS}g}") for value in values[kept].tolist()],
        "noise": np.flatnonzero(noise[kept]).tolist(),
    }


def _thinned(places: np.ndarray) -> np.ndarray:
    """At most `MOST_POINTS` of the places, evenly spaced, with the first and the last."""
    if len(places) <= MOST_POINTS:
        return places
    return places[np.unique(np.linspace(0, len(places) - 1, MOST_POINTS).round().astype(int))]


def _colours(factors: list[dict[str, Any]], runs: int) -> dict[str, Any]:
    """The colour of each run, by the first setting except seeds; the activation, if activations differ."""
    factor = next((k for k, f in enumerate(factors) if f["name"] not in SEEDS), None)
    if factor is None:
        return {"factor": None, "of": [COLOURS[0]] * runs}
    return {"factor": factor, "of": [COLOURS[value % len(COLOURS)] for value in factors[factor]["of"]]}
