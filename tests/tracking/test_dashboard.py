"""The specification of the W&B workspace and report."""

import json
import re
from pathlib import Path

import pytest

from ntkode.tracking.dashboard import GROUPS, MAX_RUNS, SECTIONS, STEP, SUMMARY, dashboard

DEFINED = (Path(__file__).resolve().parents[2] / "docs" / "theory" / "metrics.md").read_text()
GROUP_COLUMNS = [
    {"section": "config", "name": "choices.value.activation"},
    {"section": "config", "name": "model.value.width"},
    {"section": "config", "name": "choices.value.solver"},
]


@pytest.fixture(scope="module")
def specification():
    return json.loads(json.dumps(dashboard("a-project", "a-sweep", "team").specification()))


@pytest.fixture(scope="module")
def panels(specification):
    """The workspace's panels by title; the run comparer has none."""
    sections = specification["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]
    return {p["config"].get("chartTitle", p["viewType"]): p for s in sections for p in s["panels"]}


def runset(specification):
    return specification["workspace"]["spec"]["section"]["runSets"][0]


def report_grids(specification):
    return [b["metadata"] for b in specification["report"]["spec"]["blocks"] if b["type"] == "panel-grid"]


def test_workspace_and_report_show_the_sweep_by_activation_width_and_solver(specification):
    runsets = [runset(specification)] + [grid["runSets"][0] for grid in report_grids(specification)]
    assert len(runsets) == 1 + len(SECTIONS) + 1
    for runs in runsets:
        [only] = runs["filters"]["filters"]
        assert (only["key"]["name"], only["op"], only["value"]) == ("group", "=", "a-sweep")
        assert runs["grouping"] == GROUP_COLUMNS
    for part in ("workspace", "report"):
        assert "ntkode a-sweep" in specification[part]["displayName"]
    assert specification["workspace"]["entity"] == "team"
    assert specification["report"]["project"] == {"name": "a-project", "entityName": "team"}


def test_without_a_sweep_all_runs_of_the_project_are_included():
    assert runset(dashboard("p").specification())["filters"]["filters"] == []


@pytest.mark.parametrize(
    ("metric", "log"),
    [
        ("loss/ratio", True),
        ("ntk/lambda_min", True),
        ("gradient/relative_error", True),
        ("ntk/drift", False),
        ("loss/decay_rate", True),
        ("loss/predicted_rate", True),
    ],
)
def test_what_was_asked_for_is_drawn_against_the_step(panels, metric, log):
    [panel] = [p for p in panels.values() if "Line" in p["viewType"] and metric in p["config"]["metrics"]]
    assert panel["config"].get("yLogScale", False) is log
    assert panel["config"]["xAxis"] == STEP
    assert panel["config"]["limit"] == MAX_RUNS


def test_runs_are_compared(panels, specification):
    [coordinates] = [p for p in panels.values() if p["viewType"] == "Parallel Coordinates Plot"]
    columns = [column["accessor"] for column in coordinates["config"]["columns"]]
    assert columns[:3] == [f"config:{group['name']}" for group in GROUP_COLUMNS]
    assert "summary:ntk/lambda_min" in columns
    assert panels["Run Comparer"]["config"]["diffOnly"] is True
    *others, table = report_grids(specification)
    assert all(grid["hideRunSets"] for grid in others)
    assert not table["hideRunSets"]
    for runs in (table["runSets"][0], runset(specification)):
        columns = runs["runFeed"]["columnOrder"]
        assert {f"summary:{name}" for name in SUMMARY} <= set(columns)


def test_panels_of_the_report_do_not_overlap(specification):
    for grid in report_grids(specification):
        layouts = [panel["layout"] for panel in grid["panelBankSectionConfig"]["panels"]]
        assert len({(layout["x"], layout["y"]) for layout in layouts}) == len(layouts)
        assert all(layout["x"] + layout["w"] <= 24 for layout in layouts)


def test_what_is_drawn_is_what_runs_log(composed):
    """The names are those that docs/theory/metrics.md defines."""
    defined = set(re.findall(r"`([a-z]+/[^`]*)`", DEFINED))
    names = {name for lines in SECTIONS.values() for panel in lines for name in panel.metrics} | set(SUMMARY)
    for name in names:
        assert name in defined, name
    config = composed("dataset=digits")
    for key in GROUPS:
        value = config
        for part in key.split("."):
            value = value[part]
        assert value


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"project": "a/b"}, r"project='a/b' .* as in project=ntkode"),
        ({"project": "p", "sweep": "a=b"}, r"sweep='a=b'"),
        ({"project": "p", "sweep": "it's"}, r"sweep=.it's"),
        ({"project": "p", "entity": "a b/c"}, r"entity='a b/c'"),
    ],
    ids=str,
)
def test_names_that_cannot_be_looked_up_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        dashboard(**names)
