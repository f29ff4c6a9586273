"""Test advice: train the recommended, the default and random configurations for the same number of steps."""

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
# Largest width of a random configuration.
WIDEST = 512


@dataclass(frozen=True)
class Setting:
    """A configuration to train.

    Attributes:
        name: `advised`, `default`, or `random 1` and so on.
        overrides: overrides of the config, in addition to the user's.
    """

    name: str
    overrides: tuple[str, ...]


def settings_of(advice: Mapping[str, Any], random: int, draw: int) -> list[Setting]:
    """The advised configuration, the default and `random` others, each with the advised number of steps.

    A random configuration draws activation, σ_w·T and width from the candidates of the advice, and a solver,
    its steps and a gradient method, all uniformly. The learning rate is 1/λ_max for all; with a random one
    most would diverge.

    Args:
        advice: advice as returned by `ntkode.advice.formatting.plain`.
        random: number of random configurations.
        draw: seed of the random configurations.
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
    """Train every setting with every seed, as runs of a sweep, and return their results.

    Returns:
        One row per run: `setting`, `overrides`, `seed`, `run_id`, `status`, `error` (1 − test accuracy, or
        `loss/test` in regression), `loss` (`loss/test`), `seconds`. A run that is not done has NaN.
    """
    labels: list[tuple[str, tuple[str, str, int]]] = []
    for number, (seed, setting) in enumerate(product(seeds, settings)):
        overrides = [
            *setting.overrides,
            f"seed={seed}",
            f"results_dir={json.dumps(results)}",
            f"sweep={sweep}",
        ]
        config = compose(overrides)
        run_job(config, " ".join([*setting.overrides, f"seed={seed}"]), number)
        labels.append((run_id(config), (setting.name, " ".join(setting.overrides), seed)))
    runs = {run["run_id"]: run for _, run in load(Path(results), sweep).iterrows()}
    return pd.DataFrame([_row(runs[name], *label) for name, label in labels])


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
    """The advised setting compared with another one, paired by seed.

    Attributes:
        against: name of the other setting.
        difference: advised minus other mean test error; negative if the advice is better.
        noise: standard error of the paired difference over seeds.
        seeds: number of seeds on which both are done.
        wins: number of seeds on which the advised error is smaller.
    """

    against: str
    difference: float
    noise: float
    seeds: int
    wins: int


def verdicts(runs: pd.DataFrame) -> list[Comparison]:
    """Comparisons with the default and with each random setting."""
    errors = runs.pivot_table(index="seed", columns="setting", values="error", dropna=False)
    comparisons = []
    for name in runs["setting"].unique():
        if name != ADVISED and ADVISED in errors and name in errors:
            differences = (errors[ADVISED] - errors[name]).dropna()
            mean, noise = float(differences.mean()), float(differences.sem())
            comparisons.append(Comparison(name, mean, noise, len(differences), int((differences < 0).sum())))
    return comparisons


def trial_table(runs: pd.DataFrame) -> Table:
    """One row per setting, by ascending mean test error, with the difference of the advised error from it.

    Both have standard errors over seeds; that of the difference is paired.
    """
    by_name = {verdict.against: verdict for verdict in verdicts(runs)}
    table = terminal_table()
    for header in ("", "test error", "advised minus\nthis one", "test loss", "seconds", "done", "setting"):
        table.add_column(
            header, justify="left" if header in ("", "setting") else "right", no_wrap=header == ""
        )
    grouped = runs.groupby("setting", sort=False)
    errors = grouped["error"].agg(["mean", "sem"]).sort_values("mean", na_position="last")  # done runs
    for name in errors.index:
        group, verdict = grouped.get_group(name), by_name.get(str(name))
        error = f"{errors['mean'][name]:.4g} ± {errors['sem'][name]:.2g}"
        difference = "" if verdict is None else f"{verdict.difference:+.2g} ± {verdict.noise:.2g}"
        done = f"{int((group['status'] == Status.DONE).sum())}/{len(group)}"
        seconds, loss = f"{group['seconds'].median():.3g}", f"{group['loss'].mean():.4g}"
        table.add_row(
            f"{name}", error, difference, loss, seconds, done, escape(str(group["overrides"].iloc[0]))
        )
    return table
