"""Evidence from stored runs: condenses the frame of `ntkode.results.load` into tables."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from ntkode import activations
from ntkode.advice.advice_data import AdviceData, RelativeCost, RunSource, StoredError, Tolerated
from ntkode.report.gradients.training import enough_table, training_effects
from ntkode.report.tables.labels import numbers
from ntkode.results import Status

_STUDY, _DATASET = "config.choices.study", "config.choices.dataset"
_STUDIES = ("gradient_accuracy", "gradient_training")
_SETTING = "config.activation."
_ERROR = "gradient/relative_error"


def collect(runs: pd.DataFrame) -> AdviceData:
    """The evidence in the done runs of study=gradient_accuracy and gradient_training.

    Runs of models other than neural_ode, of unknown activations or with adaptive solvers are ignored.

    Args:
        runs: a frame as returned by `ntkode.results.load`.
    """
    usable = runs[runs["status"] == Status.DONE]
    for column, wanted in ((_STUDY, _STUDIES), ("config.choices.model", ("neural_ode",))):
        usable = usable[usable[column].isin(wanted)] if column in usable else usable.iloc[:0]
    if usable.empty:
        return AdviceData()
    # Concatenated frames repeat their index, which would misalign new columns.
    usable = usable.reset_index(drop=True).copy()
    usable = usable.assign(
        activation=pd.Series({i: _activation(row) for i, row in usable.iterrows()}, dtype=object),
        gamma=numbers(usable, "config.model.sigma_w") * numbers(usable, "config.model.horizon"),
        dataset=usable[_DATASET].astype(str),
    )
    usable = usable[usable["activation"].notna()].reset_index(drop=True)
    of = {study: usable[usable[_STUDY] == study].reset_index(drop=True) for study in _STUDIES}
    return AdviceData(
        gradient=list(_gradient_errors(of["gradient_accuracy"])),
        tolerated=list(_tolerated(of["gradient_training"])),
        sources=list(_sources(usable)),
    )


def gradient_costs(path: Path) -> list[RelativeCost]:
    """Time of each ntkode gradient method relative to backprop, from `docs/perf/gradients.json`.

    Raises:
        ValueError: the file is not a record of `make perf-gradients`.
    """
    try:
        return list(_cost_ratios(json.loads(path.read_text())["settings"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"perf={path} is not a record of make perf-gradients ({error!r})") from error


def _cost_ratios(settings: list[dict[str, Any]]) -> Iterator[RelativeCost]:
    ratios: dict[str, list[float]] = {}
    for setting in settings:
        timed = {c["contestant"]: c["seconds"] for c in setting["contestants"] if c["status"] == Status.DONE}
        for name, seconds in timed.items():
            ratios.setdefault(name, []).append(seconds / timed["backprop"])
    for name, values in ratios.items():
        if "-" not in name and name != "torchode":  # skip other libraries
            yield RelativeCost(name, max(values), len(values))


def _activation(row: pd.Series) -> str | None:
    """The canonical name: `softplus`, or `softplus(beta=4)` with a setting that is not the default."""
    settings = {
        str(name).removeprefix(_SETTING): row[name] for name in row.index if str(name).startswith(_SETTING)
    }
    settings = {
        k: v for k, v in settings.items() if k != "_target_" and not (isinstance(v, float) and math.isnan(v))
    }
    try:
        return activations.get(**settings).name
    except (TypeError, ValueError):
        return None


def _gradient_errors(runs: pd.DataFrame) -> Iterator[StoredError]:
    solver = runs["config.solver.method"] if len(runs) else pd.Series(dtype=str)
    worst = pd.concat([numbers(runs, f"{_ERROR}.first"), numbers(runs, _ERROR)], axis=1).max(
        axis=1, skipna=False
    )
    runs = runs.assign(solver=solver, steps=numbers(runs, "config.solver.steps"), error=worst)
    runs = runs[runs["steps"].notna() & np.isfinite(runs["error"])]
    keys = ["activation", "gamma", "dataset", "solver", "config.choices.gradient", "steps"]
    for key, group in runs.groupby(keys, sort=False):
        activation, gamma, dataset, method, gradient, steps = cast("tuple[Any, ...]", key)
        yield StoredError(
            activation=activation,
            gamma=gamma,
            dataset=dataset,
            solver=method,
            gradient=gradient,
            steps=int(steps),
            error=float(group["error"].max()),
            evaluations=float(numbers(group, "cost/nfe_forward").median()),
            runs=len(group),
        )


def _tolerated(runs: pd.DataFrame) -> Iterator[Tolerated]:
    for key, group in runs.groupby(["activation", "dataset"], sort=False):
        activation, dataset = cast("tuple[str, str]", key)
        table = enough_table(training_effects(group.reset_index(drop=True)))
        for _, row in table.iterrows():
            bounds = {name: float(row[name]) for name in ("change", "enough", "too_much")}
            yield Tolerated(activation=activation, dataset=dataset, runs=len(group), **bounds)


def _sources(runs: pd.DataFrame) -> Iterator[RunSource]:
    keys = [_STUDY, "dataset", "git.commit", "git.dirty", "sources_sha256"]
    for key, group in runs.groupby(keys, dropna=False, sort=False):
        study, dataset, commit, dirty, digest = cast("tuple[Any, ...]", key)
        yield RunSource(
            study, dataset, _optional(commit, str), _optional(dirty, bool), _optional(digest, str), len(group)
        )


def _optional(value: Any, kind: Callable[[Any], Any]) -> Any:
    return None if pd.isna(value) else kind(value)
