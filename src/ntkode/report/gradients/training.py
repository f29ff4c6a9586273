"""The report of study=gradient_training: what the gradient's error does to the training."""

import math
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from ntkode.report.base import Report
from ntkode.report.formatting import MISSING, three_digits
from ntkode.report.gradients.training_figure import gradient_training_figure
from ntkode.report.tables.comparison import Column, comparison, failures
from ntkode.report.tables.labels import (
    activation_labels,
    method_labels,
    numbers,
    problem_columns,
    problem_labels,
)
from ntkode.results import Status

ERROR = "gradient/relative_error.first"
LOSS = "loss/exact"
BOUNDS = (0.01, 0.1)
NOT_MEASURED = "no run measured both the gradient's error and the exact loss: metrics=gradient_training does"

_ENOUGH = "gradient error at the start that is small enough: the final exact loss changes by less than"
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
    """`gradient_training.csv`, a row a run; `gradient_training_enough.csv`, a row a bound; the picture."""
    effects = training_effects(runs)
    enough = enough_table(effects)
    table = comparison(runs, _MEASURES)
    ratios = effects.set_index("run_id")[[*_RATIOS]].reindex(table["run_id"]).reset_index(drop=True)
    tables = {
        "gradient_training": table.join(ratios.rename(columns=lambda name: name.replace("_", " "))),
        "gradient_training_enough": enough,
    }
    if effects["loss_ratio"].notna().any():
        shown = Group(
            _ENOUGH, "", _shown_enough(enough), "", _RUNS, "", _shown_runs(effects), *failures(table)
        )
    else:
        shown = Group(NOT_MEASURED, *failures(table))
    return Report("gradient_training", tables, shown, gradient_training_figure(effects, BOUNDS))


def training_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a run that measured its gradient's error at the start; in each group the least error first.

    Columns: `run_id`, `group` (its activation, and what else differs of the problem), `seed`, `data_seed`,
    `setting` (solver and gradient, as far as they differ), `error`, `done`, `accuracy`, and `loss_ratio`,
    `lambda_min_ratio`, `rate_ratio`: the values at the end over those of the run of the same group and seeds
    with the least error. NaN where a run did not end well, and where it is alone.
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
    for _, own in effects.groupby(["group", "seed", "data_seed"]):
        best = own.loc[own["done"]].head(1)
        for name in _RATIOS:
            scale = best[name].item() if len(best) and len(own) > 1 else math.nan
            effects.loc[own.index, name] = own[name] / scale
    return effects.reset_index(drop=True)


def enough_table(effects: pd.DataFrame) -> pd.DataFrame:
    """A row a group and bound: the largest error up to which no run changes the final exact loss by more.

    Columns: `activation`, `change` (the bound), `enough` (that error; NaN where the bound is passed from the
    start), `too_much` (the next larger error, at which it is passed; NaN where none is), `largest` (the
    largest error tried). A run that failed passes every bound; one without the loss does not count.
    """
    rows = []
    judged = effects[effects["loss_ratio"].notna() | ~effects["done"]]
    for group, own in judged.groupby("group", sort=False):
        own = own.sort_values("error")
        change = (own["loss_ratio"] - 1).abs().where(own["done"], math.inf)
        for bound in BOUNDS:
            within = (change < bound).cummin()
            enough, over = own.loc[within, "error"], own.loc[~within, "error"]
            rows.append((group, bound, enough.max(), over.min(), own["error"].max()))
    return pd.DataFrame(rows, columns=["activation", "change", "enough", "too_much", "largest"])


def _shown_enough(enough: pd.DataFrame) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    shown.add_column("")
    for bound in BOUNDS:
        shown.add_column(f"{bound:.0%}", justify="right", no_wrap=True)
    for group, own in enough.groupby("activation", sort=False):
        shown.add_row(escape(str(group)), *(_bracket(row) for _, row in own.iterrows()))
    return shown


def _bracket(row: pd.Series) -> str:
    if math.isnan(row["too_much"]):
        return f"all, up to {three_digits(row['largest'])}"
    if math.isnan(row["enough"]):
        return f"none: passed at {three_digits(row['too_much'])}"
    return f"{three_digits(row['enough'])}, passed at {three_digits(row['too_much'])}"


def _shown_runs(effects: pd.DataFrame) -> Table:
    """Medians over seeds, a row a group and setting."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    shown.add_column("")
    shown.add_column("")
    columns = {
        "error": "gradient\nerror",
        "loss_ratio": "exact\nloss",
        "lambda_min_ratio": "λ_min",
        "rate_ratio": "decay\nrate",
        "accuracy": "test\naccuracy",
    }
    for header in columns.values():
        shown.add_column(header, justify="right", no_wrap=True)
    medians = effects.groupby(["group", "setting"])[[*columns]].median().sort_values("error").reset_index()
    for group in effects["group"].unique():
        for _, row in medians[medians["group"] == group].iterrows():
            cells = (MISSING if pd.isna(row[name]) else three_digits(row[name]) for name in columns)
            shown.add_row(escape(str(group)), escape(str(row["setting"])), *cells)
    return shown
