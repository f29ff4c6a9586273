"""The comparison of runs as a table: the settings in which they differ, and their results."""

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Group
from rich.markup import escape

from ntkode.report.formatting import MISSING, three_digits
from ntkode.report.tables.terminal import terminal_table
from ntkode.results import Status
from ntkode.results.identity import NOT_IDENTIFYING


class Column(NamedTuple):
    """A column of numbers of a table of runs."""

    metric: str  # column of `ntkode.results.load`
    name: str  # column of `comparison`
    header: str  # in `render`, the terminal's table


RESOLUTION = Column(
    "ntk/resolution.max", "lambda_min resolution", ""
)  # in the table; in `render` only as a bound of λ_min
TRAINING = (
    Column("loss/train", "final loss", "final\nloss"),
    Column("loss/ratio", "loss ratio", "loss\nL/L₀"),
    Column("accuracy/test", "test accuracy", "test\nacc."),
    Column("ntk/lambda_min.first", "lambda_min start", "λ_min\nstart"),
    Column("ntk/lambda_min.min", "lambda_min minimum", "λ_min\nleast"),
    Column("ntk/lambda_min", "lambda_min end", "λ_min\nend"),
    Column("gradient/relative_error", "gradient error", "gradient\nerror"),
    Column("loss/decay_rate", "measured decay rate", "rate\nmeas."),
    Column("loss/predicted_rate", "predicted decay rate", "rate\npred."),
    Column("loss/predicted_rate_limit", "decay rate of the limit", "rate\n∞"),
    Column("ntk/limit_distance.first", "NTK distance to its limit", "Θ−Θ∞\nstart"),
    Column("cost/run_seconds", "seconds", "time\n\\[s]"),
    RESOLUTION,
)
MOST_ROWS = 200
"""Most runs that the terminal lists; the CSV file has all."""
_HEADERS = {measure.name: measure.header for measure in TRAINING}
_OUTCOME = ("status", "run_id", "message", "remedy")

_STYLES = {Status.DONE: "green", Status.RUNNING: "cyan", Status.INTERRUPTED: "yellow"}
_FAILED_STYLE = "red"


def comparison(runs: pd.DataFrame, measures: Sequence[Column] = TRAINING) -> pd.DataFrame:
    """One row per run: the settings in which the runs differ, the measures, the status.

    Args:
        runs: what `ntkode.results.load` returns.
        measures: the numbers to include; those of training by default.

    Returns:
        First `activation` and every other choice or config key in which the runs differ, then the measures
        that at least one run has (at full precision, NaN if missing), then status, run_id, message, remedy.
    """
    columns = {_short(name): runs[name] for name in _differing_columns(runs)}
    for measure in measures:
        if measure.metric in runs and runs[measure.metric].notna().any():
            columns[measure.name] = runs[measure.metric]
    return pd.DataFrame({**columns, **{name: runs[name] for name in _OUTCOME}}).reset_index(drop=True)


def labels(runs: pd.DataFrame) -> dict[str, str]:
    """The label of each run by run_id: the values in which the runs differ, such as `tanh, w512`.

    Seeds are excluded: runs that differ in the seed alone share a label.
    """
    names = [name for name in _differing_columns(runs) if name != "config.seed"]
    columns = [name for name in names if _differs(runs[name])] or names
    labels_by_run = {}
    for _, run in runs.iterrows():
        parts = [_label_part(name, run[name]) for name in columns if not _missing(run[name])]
        labels_by_run[str(run["run_id"])] = ", ".join(parts) or str(run["run_id"])
    return labels_by_run


def render(table: pd.DataFrame) -> Group:
    """A `comparison` for the terminal: three significant digits, with the reasons of failures below.

    A λ_min at or below its resolution is noise and is printed as `<` the resolution.
    """
    rendering = terminal_table(padding=0)  # so that a default sweep fits 100 characters
    names = [name for name in map(str, table) if name not in (RESOLUTION.name, *_OUTCOME[1:])]
    for name in names:
        if name in _HEADERS:
            rendering.add_column(_HEADERS[name], justify="right", no_wrap=True)
        else:  # text may wrap, a status may not
            rendering.add_column(_header(name, names), overflow="fold", no_wrap=name == "status")
    for _, run in table.head(MOST_ROWS).iterrows():
        rendering.add_row(*(_cell(name, run) for name in names))
    hidden = len(table) - MOST_ROWS
    more = [f"{hidden} more runs are in the CSV file below"] if hidden > 0 else []
    return Group(rendering, *more, *failures(table))


def failures(table: pd.DataFrame) -> list[str]:
    """One line per failed run of a `comparison`, after an empty line; an empty list if no run failed."""
    failed = [run for _, run in table.iterrows() if run["status"] not in (Status.DONE, Status.RUNNING)]
    return [*([""] if failed else []), *map(_note, failed)]


def _differing_columns(runs: pd.DataFrame) -> list[str]:
    """The `config.…` columns in which the runs differ, after `config.choices.activation`."""
    columns = [str(name) for name in runs]
    choices = [name for name in columns if name.startswith("config.choices.")]
    choices = [name for name in choices if _short(name).split("/")[0] not in NOT_IDENTIFYING]
    differing = [name for name in choices if _differs(runs[name]) or name == "config.choices.activation"]
    differing.sort(key=lambda name: name != "config.choices.activation")
    groups = {name.removeprefix("config.choices."): name for name in differing}
    for name in columns:
        path = name.split(".")
        if path[0] != "config" or path[1] in NOT_IDENTIFYING or not _differs(runs[name]):
            continue
        # A key that a choice determines is redundant: width=w256 sets width and model.width.
        choices_of_key = [choice for group, choice in groups.items() if _brings(group, path[1:])]
        if not any(_determines(runs[choice], runs[name]) for choice in choices_of_key):
            differing.append(name)
    return _without_copies(runs, differing)


def _brings(group: str, path: list[str]) -> bool:
    """Whether a choice of `group` sets the key: `solver` those in `solver`, `solver@a.b` those in `a.b`."""
    package = group.partition("@")[2]
    return f".{package}." in f".{'.'.join(path)}." if package else group in path


def _without_copies(runs: pd.DataFrame, names: list[str]) -> list[str]:
    """Leave out keys with the values of an earlier key of the same last name: `dataset.steps`, `steps`."""
    kept: dict[tuple[str, ...], str] = {}
    for name in names:
        kept.setdefault((name.rpartition(".")[2], *_comparable(runs[name])), name)
    return list(kept.values())


def _comparable(column: pd.Series) -> pd.Series:
    return column.map(lambda value: MISSING if _missing(value) else json.dumps(value, default=str))


def _differs(column: pd.Series) -> bool:
    values = column.tolist()
    if all(type(value) is type(values[0]) and value == values[0] for value in values):
        return False  # as most columns: comparing texts takes ten times as long
    return bool(_comparable(column).nunique() > 1)


def _determines(choice: pd.Series, key: pd.Series) -> bool:
    return bool((_comparable(key).groupby(_comparable(choice)).nunique() <= 1).all())


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _short(name: str) -> str:
    """`activation` of `config.choices.activation`, `optimizer.lr` of `config.optimizer.lr`."""
    return name.removeprefix("config.").removeprefix("choices.")


def _header(name: str, names: list[str]) -> str:
    """`lr` for `optimizer.lr`, unless another key ends with the same word."""
    last = name.rpartition(".")[2]
    return (
        last if [other.rpartition(".")[2] for other in names].count(last) == 1 else name.replace(".", ".\n")
    )


def _label_part(name: str, value: Any) -> str:
    text = _setting(value)
    return text if name.startswith("config.choices.") else f"{name.rpartition('.')[2]}={text}"


def _setting(value: Any) -> str:
    # pandas turns integers into floats if a value of the column is missing.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _cell(name: str, run: pd.Series) -> str:
    value = run[name]
    if _missing(value):
        return MISSING
    if name == "status":
        return f"[{_STYLES.get(value, _FAILED_STYLE)}]{value}[/]"
    if name.startswith("lambda_min") and value <= run.get(RESOLUTION.name, -math.inf):
        return f"<{three_digits(run[RESOLUTION.name])}"
    if name in _HEADERS:
        return three_digits(value)
    return escape(_setting(value))


def _note(run: pd.Series) -> str:
    """Why a run failed and what to try, as Rich markup."""
    message = " → ".join(
        str(run[name]) for name in ("message", "remedy") if not _missing(run[name]) and run[name]
    )
    style = _STYLES.get(run["status"], _FAILED_STYLE)
    return f"[{style}]{run['status']}[/] {escape(str(run['run_id']))}: {escape(message) or 'no message'}"
