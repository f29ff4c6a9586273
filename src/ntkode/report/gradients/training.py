"""The report of study=gradient_training: the effect of the gradient's error on training."""

import math
from pathlib import Path

import pandas as pd
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from ntkode.report.base import Report
from ntkode.report.formatting import measured, three_digits
from ntkode.report.gradients.training_figure import gradient_training_figure
from ntkode.report.tables.comparison import Column, comparison, failures
from ntkode.report.tables.labels import (
    activation_labels,
    method_labels,
    numbers,
    problem_columns,
    problem_labels,
)
from ntkode.report.tables.terminal import terminal_table
from ntkode.results import Status

ERROR = "gradient/relative_error.first"
LOSS = "loss/exact"
BOUNDS = (0.01, 0.1)
NOT_MEASURED = "no run measured both the gradient's error and the exact loss; try metrics=gradient_training"

_ENOUGH = "largest gradient error at the start with which the final exact loss changes by less than"
_RUNS = "at the end, relative to the run of the most accurate gradient (medians over seeds)"
_RATIOS = {"loss_ratio": LOSS, "lambda_min_ratio": "ntk/lambda_min", "rate_ratio": "loss/decay_rate"}
_MEASURES = (
    Column(ERROR, "gradient error start", ""),
    Column("gradient/relative_error", "gradient error end", ""),
    Column(LOSS, "exact loss", ""),
    Column("loss/exact_ratio", "exact loss ratio", ""),
    Column("loss/train", "loss as trained", ""),
    Column("ntk/lambda_min", "lambda_min end", ""),
    Column("loss/decay_rate", "decay rate", ""),
    Column("accuracy/test", "test accuracy", ""),
    Column("cost/run_seconds", "run seconds", ""),
)


def report(runs: pd.DataFrame, results_dir: Path) -> Report:
    """The tables `gradient_training` (one row per run) and `gradient_training_enough`, and the figure."""
    effects = training_effects(runs)
    enough = enough_table(effects)
    table = comparison(runs, _MEASURES)
    ratios = effects.set_index("run_id")[[*_RATIOS]].reindex(table["run_id"]).reset_index(drop=True)
    tables = {
        "gradient_training": table.join(ratios.rename(columns=lambda name: name.replace("_", " "))),
        "gradient_training_enough": enough,
    }
    if effects["loss_ratio"].notna().any():
        sufficient, ratios_of_runs = _render_enough(enough), _render_runs(effects)
        rendering = Group(_ENOUGH, "", sufficient, "", _RUNS, "", ratios_of_runs, *failures(table))
    else:
        rendering = Group(NOT_MEASURED, *failures(table))
    return Report("gradient_training", tables, rendering, gradient_training_figure(effects, BOUNDS))


def training_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per run with a measured gradient error at the start, sorted by error within each group.

    Columns: `run_id`, `group` (activation and other differing settings of the problem), `seed`, `data_seed`,
    `setting` (solver and gradient, as far as they differ), `error`, `done`, `accuracy`, and `loss_ratio`,
    `lambda_min_ratio`, `rate_ratio`: the values at the end divided by those of the run with the least error
    among the done runs of the same group and seeds. NaN if the run is not done or is the only one.
    """
    done = runs["status"] == Status.DONE
    problems = problem_labels(runs)
    groups = {i: f"{a}, {problems[i]}" if problems[i] else a for i, a in activation_labels(runs).items()}
    effects = pd.DataFrame(
        {
            "run_id": runs["run_id"],
            "group": runs["run_id"].map(groups),
            "seed": runs.get("config.seed", 0),
            "data_seed": numbers(runs, "config.dataset.seed").fillna(0),
            "setting": runs["run_id"].map(method_labels(runs, problem_columns(runs))),
            "error": numbers(runs, ERROR),
            "done": done,
            "accuracy": numbers(runs, "accuracy/test").where(done),
            **{name: numbers(runs, column).where(done) for name, column in _RATIOS.items()},
        }
    )
    place = {group: number for number, group in enumerate(effects["group"].unique())}
    effects = effects[effects["error"] > 0].sort_values("error", kind="stable")
    effects = effects.sort_values("group", key=lambda groups: groups.map(place), kind="stable")
    for _, paired in effects.groupby(["group", "seed", "data_seed"]):
        best = paired.loc[paired["done"]].head(1)
        for name in _RATIOS:
            scale = best[name].item() if len(best) and len(paired) > 1 else math.nan
            effects.loc[paired.index, name] = paired[name] / scale
    return effects.reset_index(drop=True)


def enough_table(effects: pd.DataFrame) -> pd.DataFrame:
    """One row per group and bound: the largest error up to which no run exceeds the bound.

    A run exceeds the bound if its final exact loss changes by more, or if it failed. Runs without the loss do
    not count.

    Returns:
        Columns: `activation`, `change` (the bound), `enough` (the error; NaN if even the smallest one exceeds
        the bound), `too_much` (the smallest error beyond it; NaN if there is none), `largest` (the largest
        error measured).
    """
    rows = []
    judged = effects[effects["loss_ratio"].notna() | ~effects["done"]]
    for name, group in judged.groupby("group", sort=False):
        group = group.sort_values("error")
        change = (group["loss_ratio"] - 1).abs().where(group["done"], math.inf)
        for bound in BOUNDS:
            within = (change < bound).cummin()
            enough, over = group.loc[within, "error"], group.loc[~within, "error"]
            rows.append((name, bound, enough.max(), over.min(), group["error"].max()))
    return pd.DataFrame(rows, columns=["activation", "change", "enough", "too_much", "largest"])


def _render_enough(enough: pd.DataFrame) -> Table:
    """`enough_table`, one row per group, one column per bound."""
    rendering = terminal_table([""], (f"{bound:.0%}" for bound in BOUNDS))
    for name, bounds in enough.groupby("activation", sort=False):
        rendering.add_row(escape(str(name)), *(_bracket(row) for _, row in bounds.iterrows()))
    return rendering


def _bracket(row: pd.Series) -> str:
    if math.isnan(row["too_much"]):
        return f"all, up to {three_digits(row['largest'])}"
    if math.isnan(row["enough"]):
        return f"none: exceeded at {three_digits(row['too_much'])}"
    return f"{three_digits(row['enough'])}, exceeded at {three_digits(row['too_much'])}"


def _render_runs(effects: pd.DataFrame) -> Table:
    """Medians over seeds, one row per group and setting."""
    columns = {
        "error": "gradient\nerror",
        "loss_ratio": "exact\nloss",
        "lambda_min_ratio": "λ_min",
        "rate_ratio": "decay\nrate",
        "accuracy": "test\naccuracy",
    }
    rendering = terminal_table(["", ""], columns.values())
    medians = effects.groupby(["group", "setting"])[[*columns]].median().sort_values("error").reset_index()
    for group in effects["group"].unique():
        for _, row in medians[medians["group"] == group].iterrows():
            values = (measured(row[name]) for name in columns)
            rendering.add_row(escape(str(group)), escape(str(row["setting"])), *values)
    return rendering
