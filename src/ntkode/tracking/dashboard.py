"""A W&B workspace and a W&B report on the runs of a project, as specifications; `save` alone needs a server.

Both group runs by activation, width and solver, so that seeds become a mean and a band; both read what every
run logs, hence any project that holds runs of ours will do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

STEP = "trainer/global_step"
"""What all metrics are logged against."""
GROUPS = ("choices.activation", "model.width", "choices.solver")
"""Config keys by which runs are grouped."""
SUMMARY = (
    "loss/train",
    "loss/ratio",
    "accuracy/test",
    "ntk/lambda_min",
    "ntk/condition_number",
    "gradient/relative_error",
    "ntk/drift",
    "loss/decay_rate",
    "loss/predicted_rate",
    "cost/step_seconds",
)
"""Columns of the tables: last values."""
RUNS_SHOWN = 50
# A report's panels lie on a grid of 24 columns.
PANEL_WIDTH, PANEL_HEIGHT, PER_ROW = 12, 8, 2


@dataclass(frozen=True)
class Lines:
    """A panel of metrics against the step."""

    title: str
    metrics: tuple[str, ...]
    log: bool = False


SECTIONS: dict[str, tuple[Lines, ...]] = {
    "Loss": (
        Lines(
            "Loss L/L₀, and as predicted at initialisation", ("loss/ratio", "loss/predicted_ratio"), log=True
        ),
        Lines("Loss on the training set", ("loss/train",), log=True),
        Lines("Mean loss on the test split", ("loss/test",), log=True),
        Lines("Test accuracy", ("accuracy/test",)),
    ),
    "NTK": (
        Lines(
            "Smallest eigenvalue λ_min, and its resolution", ("ntk/lambda_min", "ntk/resolution"), log=True
        ),
        Lines("Condition number", ("ntk/condition_number",), log=True),
        Lines("Drift since initialisation", ("ntk/drift",)),
        Lines("Distance to the infinite-width limit", ("ntk/limit_distance",)),
    ),
    "Gradient": (
        Lines("Error against the ODE's gradient", ("gradient/relative_error",), log=True),
        Lines("Error against the discrete solve", ("gradient/relative_error/vs_discrete",), log=True),
        Lines("Reconstruction of the state by the adjoint", ("gradient/reverse_drift",), log=True),
        Lines("Change of the parameters since initialisation", ("params/distance",)),
    ),
    "Rates": (
        Lines("Decay rate, measured and predicted", ("loss/decay_rate", "loss/predicted_rate"), log=True),
        Lines("Measured rate over predicted rate", ("loss/rate_ratio",)),
        Lines("Rate from the kernel at the residual", ("loss/local_rate",), log=True),
    ),
}
"""The panels of metrics, by section."""


@dataclass(frozen=True)
class Dashboard:
    """A workspace and a report.

    Attributes:
        workspace: the panels over the project's runs, as an own view of the project.
        report: the same with a comparison of runs and a table, to be shared.
    """

    workspace: ws.Workspace
    report: wr.Report

    def specification(self) -> dict[str, Any]:
        """What W&B would be sent, as plain values."""
        models = {"workspace": self.workspace._to_model(), "report": self.report._to_model()}
        return {
            name: model.model_dump(mode="json", by_alias=True, exclude_none=True)
            for name, model in models.items()
        }

    def told(self) -> str:
        """The panels by section, a line each."""
        sections = [f"{section.name}: {len(section.panels)} panels" for section in self.workspace.sections]
        place = f"{self.workspace.entity or 'your W&B account'}/{self.workspace.project}"
        return "\n  ".join([f"workspace and report {self.workspace.name!r} in {place}", *sections])

    def save(self) -> tuple[str, str]:
        """Make both on the server; their addresses."""
        for block in self.report.blocks:
            for runset in block.runsets if isinstance(block, wr.PanelGrid) else []:
                # Only now: to write such a runset down, W&B asks its server for the project.
                runset.entity, runset.project = self.report.entity, self.report.project
        return str(self.workspace.save().url), str(self.report.save().url)


def dashboard(project: str, sweep: str | None = None, entity: str = "") -> Dashboard:
    """The dashboard of a project's runs.

    Args:
        project: the W&B project.
        sweep: only the runs of this sweep (its W&B group); all by default.
        entity: the W&B user or team; needed to save, not to look at the specification.

    Raises:
        ValueError: a name that W&B, or its filters, cannot take.
    """
    _check_name("project", project)
    if sweep is not None:
        _check_name("sweep", sweep)
    if entity:
        _check_name("entity", entity)
    name = f"ntkode {sweep or 'all sweeps'}"
    filters = "" if sweep is None else expr.And(expr.Metric("Group") == sweep)
    columns = [*(f"config:{_stored(key)}" for key in GROUPS), *(f"summary:{name}" for name in SUMMARY)]
    sections = {title: [_plot(lines) for lines in panels] for title, panels in SECTIONS.items()}
    return Dashboard(
        ws.Workspace(
            entity=entity,
            project=project,
            name=name,
            sections=[
                ws.Section(name=title, panels=panels, is_open=True)
                for title, panels in {**sections, "Comparison": _comparison()}.items()
            ],
            settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=RUNS_SHOWN),
            runset_settings=ws.RunsetSettings(
                filters=filters, groupby=[expr.Config(key) for key in GROUPS], pinned_columns=columns
            ),
        ),
        wr.Report(
            project=project,
            entity=entity,
            title=name,
            description="Loss, NTK, gradient accuracy and rates, by activation, width and solver.",
            width="fluid",
            blocks=_blocks(filters, columns),
        ),
    )


def _check_name(key: str, value: str) -> None:
    # W&B's filters are expressions in a text, in which it does not escape quotes nor signs of equality.
    if not re.fullmatch(r"[\w.+ -]{1,128}", value):
        raise ValueError(
            f"{key}={value!r} cannot be looked up in W&B: a name has letters, digits and . _ + - only, "
            f"as in {key}=ntkode"
        )


def _stored(key: str) -> str:
    """A config key as W&B stores it: `choices.value.activation` for `choices.activation`."""
    first, dot, rest = key.partition(".")
    return f"{first}.value{dot}{rest}"


def _plot(lines: Lines) -> wr.LinePlot:
    return wr.LinePlot(
        title=lines.title,
        x=STEP,
        y=list(lines.metrics),
        log_y=lines.log,
        title_x="step",
        max_runs_to_show=RUNS_SHOWN,
        smoothing_factor=0,
    )


def _comparison() -> list[Any]:
    """Panels on last values: parallel coordinates, rates by activation, λ_min against rate, run comparer."""
    coordinates = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key)) for key in GROUPS]
    coordinates += [
        wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(name), log=log)
        for name, log in (
            ("ntk/lambda_min", True),
            ("gradient/relative_error", True),
            ("ntk/drift", False),
            ("loss/decay_rate", True),
            ("loss/ratio", True),
        )
    ]
    return [
        wr.ParallelCoordinatesPlot(
            title="What leads to which λ_min, gradient error, drift, rate and loss", columns=coordinates
        ),
        wr.BarPlot(
            title="Decay rate by activation, measured and predicted",
            metrics=["loss/decay_rate", "loss/predicted_rate"],
            groupby=wr.Config("choices.activation"),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        ),
        wr.ScatterPlot(
            title="Decay rate against λ_min",
            x=wr.SummaryMetric("ntk/lambda_min"),
            y=wr.SummaryMetric("loss/decay_rate"),
            log_x=True,
            log_y=True,
        ),
        wr.RunComparer(diff_only=True),
    ]


def _blocks(filters: Any, columns: list[str]) -> list[Any]:
    """A heading and a grid of panels for each section; the last grid shows the table of runs."""
    blocks: list[Any] = []
    sections: dict[str, list[Any]] = {title: [_plot(p) for p in panels] for title, panels in SECTIONS.items()}
    sections["Comparison, and the table of runs"] = _comparison()
    for number, (title, panels) in enumerate(sections.items(), start=1):
        runset = wr.Runset(
            name="runs",
            filters=filters,
            groupby=[f"config.{key}" for key in GROUPS],
            visible_columns=["run:displayName", "run:state", *columns],
            lock_columns=True,
        )
        hidden = number < len(sections)
        blocks += [
            wr.H2(title),
            wr.PanelGrid(runsets=[runset], panels=_placed(panels), hide_run_sets=hidden),
        ]
    return blocks


def _placed(panels: Sequence[Any]) -> list[Any]:
    """The panels, each at its place on the grid."""
    for number, panel in enumerate(panels):
        row, column = divmod(number, PER_ROW)
        panel.layout = wr.Layout(x=column * PANEL_WIDTH, y=row * PANEL_HEIGHT, w=PANEL_WIDTH, h=PANEL_HEIGHT)
    return list(panels)
