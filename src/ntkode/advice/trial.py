"""Advice put to the test: the recommended configuration, the default and random ones, trained alike."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from ntkode.advice.measurements import Compose
from ntkode.execution import run_job
from ntkode.report.tables.terminal import terminal_table
from ntkode.results import Status, load, run_id

ADVISED, DEFAULT, RANDOM = "advised", "default", "random"
SOLVERS = ("euler", "midpoint", "rk4")
SOLVER_STEPS = (5, 10, 20)
GRADIENTS = ("backprop", "adjoint")
# Widths that a random choice may have, as far as they are no wider than this.
WIDEST = 512


@dataclass(frozen=True)
class Setting:
    """A configuration to train.

    Attributes:
        name: `advised`, `default`, or `random 1` and so on.
        overrides: of the config, beside what the user gave.
    """

    name: str
    overrides: tuple[str, ...]


def settings_of(advice: Mapping[str, Any], random: int, draw: int) -> list[Setting]:
    """The advised configuration, the default and `random` others, each with the advised number of steps.

    A random one draws activation, σ_w·T and width among what the advice chose from, a solver, its steps and
    a gradient method, all uniformly; the learning rate is 1/λ_max for all, or most random ones would diverge.

    Args:
        advice: as `ntkode.advice.formatting.plain` gives it.
        random: how many.
        draw: the seed of the draw.
    """
    rng = np.random.default_rng(draw)
    asked = advice["asked"]
    steps = f"steps={advice['steps']}"
    common = (steps, "metrics=cheap", "logger=none")
    settings = [Setting(ADVISED, (*advice["overrides"], *common)), Setting(DEFAULT, common)]
    widths = [width for width in asked["widths"] if width <= WIDEST]
    for number in range(1, random + 1):
        overrides = (
            f"activation={rng.choice(asked['activations'])}",
            f"model.sigma_w={rng.choice(asked['gammas']) / asked['horizon']:g}",
            f"width=w{rng.choice(widths)}",
            f"solver={rng.choice(SOLVERS)}",
            f"solver.steps={rng.choice(SOLVER_STEPS)}",
            f"gradient={rng.choice(GRADIENTS)}",
        )
        settings.append(Setting(f"{RANDOM} {number}", (*overrides, *common)))
    return settings


def run_trial(
    settings: Sequence[Setting], seeds: Sequence[int], compose: Compose, results: str, sweep: str
) -> pd.DataFrame:
    """Train every setting with every seed, as runs of a sweep, and read back how they did.

    Returns:
        A row a run: `setting`, `overrides`, `seed`, `run_id`, `status`, `error` (1 − test accuracy, or
        `loss/test` in regression), `loss` (`loss/test`), `seconds`. A run that is not done has NaN.
    """
    asked: list[tuple[str, tuple[str, str, int]]] = []
    for number, (seed, setting) in enumerate(product(seeds, settings)):
        own = [*setting.overrides, f"seed={seed}", f"results_dir={json.dumps(results)}", f"sweep={sweep}"]
        config = compose(own)
        run_job(config, " ".join([*setting.overrides, f"seed={seed}"]), number)
        asked.append((run_id(config), (setting.name, " ".join(setting.overrides), seed)))
    runs = {run["run_id"]: run for _, run in load(Path(results), sweep).iterrows()}
    return pd.DataFrame([_row(runs[name], *told) for name, told in asked])


def _row(run: pd.Series, setting: str, overrides: str, seed: int) -> dict[str, Any]:
    done = run["status"] == Status.DONE
    accuracy, loss = run.get("accuracy/test", math.nan), run.get("loss/test", math.nan)
    error = loss if pd.isna(accuracy) else 1 - accuracy
    return {
        "setting": setting,
        "overrides": overrides,
        "seed": seed,
        "run_id": run["run_id"],
        "status": run["status"],
        "error": error if done else math.nan,
        "loss": loss if done else math.nan,
        "seconds": run.get("cost/run_seconds", math.nan),
    }


@dataclass(frozen=True)
class Comparison:
    """The advised setting beside others, by seed.

    Attributes:
        against: which.
        difference: of mean test errors, advised less the other's; negative where advice does better.
        noise: its standard error over seeds, paired.
        seeds: on how many both are done.
        wins: seeds on which the advised error is smaller.
    """

    against: str
    difference: float
    noise: float
    seeds: int
    wins: int


def verdicts(runs: pd.DataFrame) -> list[Comparison]:
    """Against the default, and against each random setting."""
    errors = runs.pivot_table(index="seed", columns="setting", values="error", dropna=False)
    found = []
    for name in runs["setting"].unique():
        if name != ADVISED and ADVISED in errors and name in errors:
            differences = (errors[ADVISED] - errors[name]).dropna()
            mean, noise = float(differences.mean()), float(differences.sem())
            found.append(Comparison(name, mean, noise, len(differences), int((differences < 0).sum())))
    return found


def trial_table(runs: pd.DataFrame) -> Table:
    """A row a setting, the least mean error first; beside it the advised error less this one's.

    With standard errors over seeds, the second's of the paired difference.
    """
    by_name = {verdict.against: verdict for verdict in verdicts(runs)}
    table = terminal_table()
    for header in ("", "test error", "advised less\nthis one", "test loss", "seconds", "done", "setting"):
        table.add_column(
            header, justify="left" if header in ("", "setting") else "right", no_wrap=header == ""
        )
    grouped = runs.groupby("setting", sort=False)
    errors = grouped["error"].agg(["mean", "sem"]).sort_values("mean", na_position="last")  # of what is done
    for name in errors.index:
        own, verdict = grouped.get_group(name), by_name.get(str(name))
        error = f"{errors['mean'][name]:.4g} ± {errors['sem'][name]:.2g}"
        beside = "" if verdict is None else f"{verdict.difference:+.2g} ± {verdict.noise:.2g}"
        done = f"{int((own['status'] == Status.DONE).sum())}/{len(own)}"
        seconds, loss = f"{own['seconds'].median():.3g}", f"{own['loss'].mean():.4g}"
        table.add_row(f"{name}", error, beside, loss, seconds, done, escape(str(own["overrides"].iloc[0])))
    return table
