"""A W&B workspace and a W&B report on the runs of a project, as specifications; only `save` needs a server.

Both group runs by activation, width and solver, so that replicates become a mean and a band. Both use only
what every run logs, so they suit any project with runs of ntkode.
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
"""The x-axis of all metrics."""
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
"""Metrics whose last values are columns of the tables."""
MAX_RUNS = 50
# The grid of a report's panels has 24 columns.
PANEL_WIDTH, PANEL_HEIGHT, PER_ROW = 12, 8, 2


@dataclass(frozen=True)
class Lines:
    """A panel of line plots of metrics against the step.

    Attributes:
        title: the panel's title.
        metrics: names of the metrics.
        log: whether the y-axis is logarithmic.
    """

    title: str
    metrics: tuple[str, ...]
    log: bool = False


SECTIONS: dict[str, tuple[Lines, ...]] = {
    "Loss": (
        Lines(
            "Loss L/L₀, and its initial prediction",
            ("loss/ratio", "loss/predicted_ratio"),
            log=True,
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
        Lines("Error relative to the ODE's gradient", ("gradient/relative_error",), log=True),
        Lines(
            "Error relative to the discrete solve",
            ("gradient/relative_error/vs_discrete",),
            log=True,
        ),
        Lines("Error of the state reconstructed by the adjoint", ("gradient/reverse_drift",), log=True),
        Lines("Change of the parameters since initialisation", ("params/distance",)),
    ),
    "Rates": (
        Lines("Decay rate, measured and predicted", ("loss/decay_rate", "loss/predicted_rate"), log=True),
        Lines("Measured rate over predicted rate", ("loss/rate_ratio",)),
        Lines("Rate from the kernel at the residual", ("loss/local_rate",), log=True),
    ),
}
"""The line plots, by section."""


@dataclass(frozen=True)
class Dashboard:
    """A W&B workspace and a W&B report.

    Attributes:
        workspace: the panels over the project's runs, as a saved view of the project.
        report: the same panels with a table of runs, for sharing.
    """

    workspace: ws.Workspace
    report: wr.Report

    def specification(self) -> dict[str, Any]:
        """What `save` sends to W&B, as plain values: `workspace` and `report`."""
        models = {"workspace": self.workspace._to_model(), "report": self.report._to_model()}
        return {
            name: model.model_dump(mode="json", by_alias=True, exclude_none=True)
            for name, model in models.items()
        }

    def outline(self) -> str:
        """Text with the name and place of the dashboard, then one line per section."""
        sections = [f"{section.name}: {len(section.panels)} panels" for section in self.workspace.sections]
        place = f"{self.workspace.entity or 'your W&B account'}/{self.workspace.project}"
        return "\n  ".join([f"workspace and report {self.workspace.name!r} in {place}", *sections])

    def save(self) -> tuple[str, str]:
        """Create both on the server, and return their addresses."""
        for block in self.report.blocks:
            for runset in block.runsets if isinstance(block, wr.PanelGrid) else []:
                # Only here: with a project, W&B needs its server to serialise the runset.
                runset.entity, runset.project = self.report.entity, self.report.project
        return str(self.workspace.save().url), str(self.report.save().url)


def dashboard(project: str, sweep: str | None = None, entity: str = "") -> Dashboard:
    """The dashboard of the runs of a W&B project.

    Args:
        project: the W&B project.
        sweep: only the runs of this sweep (its W&B group); all runs by default.
        entity: the W&B user or team; needed for `save`, not for `specification`.

    Raises:
        ValueError: a name that is not valid in W&B or its filters.
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
            settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=MAX_RUNS),
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
    # W&B's filters are text expressions, in which quotes and equality signs are not escaped.
    if not re.fullmatch(r"[\w.+ -]{1,128}", value):
        raise ValueError(
            f"{key}={value!r} is not a valid name in W&B: use letters, digits, spaces and . _ + -, "
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
        max_runs_to_show=MAX_RUNS,
        smoothing_factor=0,
    )


def _comparison() -> list[Any]:
    """Panels of last values: parallel coordinates, rates by activation, rate against λ_min, run comparer."""
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
            title="λ_min, gradient error, drift, rate and loss by setting", columns=coordinates
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
    """A heading and a grid of panels per section; the last grid also has the table of runs."""
    blocks: list[Any] = []
    sections: dict[str, list[Any]] = {title: [_plot(p) for p in panels] for title, panels in SECTIONS.items()}
    sections["Comparison and table of runs"] = _comparison()
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
    """The panels with their positions on the report's grid set."""
    for number, panel in enumerate(panels):
        row, column = divmod(number, PER_ROW)
        panel.layout = wr.Layout(x=column * PANEL_WIDTH, y=row * PANEL_HEIGHT, w=PANEL_WIDTH, h=PANEL_HEIGHT)
    return list(panels)
