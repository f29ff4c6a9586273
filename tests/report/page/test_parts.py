"""Parts of the page: numbers as text, curves, charts of intervals, origins, questions of the studies."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.report.conftest import store_run
from tests.report.page.conftest import provenance

from ntkode.report.claims.claims import Above, Below, Claim, Judgement, Verdict, Within
from ntkode.report.page.about import ABOUT, about
from ntkode.report.page.curves import MOST_POINTS, curves
from ntkode.report.page.intervals import WIDTH, glance
from ntkode.report.page.origins import origins_of
from ntkode.report.statistics.intervals import Estimate
from ntkode.report.tables.rendering import as_text
from ntkode.results import load, load_history

CONF = Path(__file__).resolve().parents[3] / "conf"


def names_in_conf():
    experiments = [path.relative_to(CONF / "experiment") for path in (CONF / "experiment").rglob("*.yaml")]
    return [str(path.with_suffix("")) for path in experiments] + [
        p.stem for p in (CONF / "study").glob("*.yaml")
    ]


@pytest.mark.parametrize("name", names_in_conf())
def test_every_experiment_and_study_has_a_question(name):
    assert about(name).question.endswith(("?", "."))


def test_an_unknown_study_gets_its_name_as_title():
    assert about("my_study").title == "my_study"
    assert len({one.title for one in ABOUT.values()}) == len(ABOUT)


def test_numbers_as_text():
    table = pd.DataFrame(
        {
            "width": [64, 128, 256],
            "sigma_w": [0.25, 1.0, np.nan],
            "error": [1.23456e-6, -0.12345, 4567.8],
            "status": ["done", None, ""],
            "lambda_min end": [1e-12, 0.123456, np.nan],
            "lambda_min resolution": [1e-10, 1e-10, 1e-10],
        }
    )
    texts = as_text(table)
    assert texts["width"].tolist() == ["64", "128", "256"]
    assert texts["sigma_w"].tolist() == ["0.25", "1", "–"]
    assert texts["error"].tolist() == ["1.23e−6", "−0.123", "4568"]
    assert texts["status"].tolist() == ["done", "–", "–"]
    assert texts["lambda_min end"].tolist() == ["<1.00e−10", "0.123", "–"]


def history_of(values, **others):
    steps = range(len(values))
    return pd.DataFrame({"run_id": "r", "step": steps, "loss/ratio": values, **others})


RUN = pd.DataFrame(
    [{"run_id": "r", "config.choices.activation": "tanh", "status": "done", "message": "", "remedy": ""}]
)


def test_curves_leave_out_what_cannot_be_drawn():
    [panel] = curves(RUN, history_of([1.0, math.nan, 0.0, math.inf, 0.123456, 0.1]))["panels"]
    [series] = panel["series"]
    assert series["x"] == [0, 4, 5]
    assert series["y"] == [1.0, 0.1235, 0.1]


def test_long_curves_are_thinned_and_keep_their_ends():
    [panel] = curves(RUN, history_of(np.linspace(1, 0.1, 5000)))["panels"]
    steps = panel["series"][0]["x"]
    assert len(steps) == MOST_POINTS
    assert (steps[0], steps[-1]) == (0, 4999)
    assert set(np.diff(steps)) <= {25, 26}


def test_eigenvalues_below_their_resolution_are_drawn_at_it_and_marked():
    noisy = {"ntk/lambda_min": [1e-3, -1e-12, 1e-11], "ntk/resolution": [1e-10, 2e-10, 3e-10]}
    panel = curves(RUN, history_of([1.0, 0.9, 0.8], **noisy))["panels"][1]
    [series] = panel["series"]
    assert series["y"] == [1e-3, 2e-10, 3e-10]
    assert series["noise"] == [1, 2]


def test_a_panel_without_values_is_no_chart():
    assert curves(RUN, history_of([1.0, 0.5])) is None
    assert curves(RUN, pd.DataFrame(columns=["run_id", "step"])) is None


def test_switches_are_the_settings_that_differ(tmp_path):
    for activation in ("tanh", "relu"):
        for seed in (0, 1):
            store_run(tmp_path, activation, seed=seed, steps=10)
    data = curves(load(tmp_path, "s"), load_history(tmp_path))
    assert [(factor["name"], factor["values"]) for factor in data["factors"]] == [
        ("activation", ["tanh", "relu"]),
        ("seed", ["0", "1"]),
    ]
    assert data["factors"][0]["of"] == [0, 0, 1, 1]
    assert data["colours"]["factor"] == 0
    assert len(set(data["colours"]["of"])) == 2
    assert data["dashes"]


def judged(expectation, value, low=math.nan, high=math.nan):
    claim = Claim("c", "s", "p", "q", lambda runs: None, expectation)
    return Judgement(claim, Verdict.SUPPORTED, Estimate(value, low, high, 3), "")


@pytest.mark.parametrize(
    ("expectation", "inside", "outside"),
    [(Within(1, 2), 1.5, 3.0), (Above(1), 1.5, 0.5), (Below(2), 1.5, 3.0), (Above(0), 4e4, -1.0)],
    ids=str,
)
def test_a_glance_puts_the_estimate_inside_or_outside_the_expected_range(expectation, inside, outside):
    for value, is_inside in ((inside, True), (outside, False)):
        seen = glance(judged(expectation, value, value * 0.99, value * 1.01))
        least, most = seen.expected
        assert (least < seen.value < most) == is_inside
        assert 0 <= least < most <= WIDTH
        assert all(0 < place < WIDTH for place in (*seen.bounds, seen.value, *seen.interval))


def test_a_glance_at_extremes():
    assert glance(judged(Above(1), math.nan)) is None
    assert glance(judged(Above(1), 2.0)).interval is None
    assert glance(judged(Above(1), 1.0)).value == WIDTH / 2  # on the only bound
    wide = glance(judged(Below(1e-7), 1e-12, 1e-13, math.inf))
    assert wide.logarithmic
    assert wide.interval[1] == WIDTH
    assert not glance(judged(Within(-1.1, -0.9), -1.0, -1.01, -0.99)).logarithmic


def test_origins_of_corrupt_and_bare_records(tmp_path):
    bare, corrupt, whole = (store_run(tmp_path, "tanh", seed=seed, steps=1) for seed in range(3))
    corrupt.directory.joinpath("provenance.json").write_text("{")
    gpus = {"cpu": "A", "cores": 8, "gpus": ["NVIDIA H100", "NVIDIA H100"]}
    whole.write_provenance(provenance(hardware=gpus, git={"commit": None, "dirty": None}))
    origins = origins_of(tmp_path, [run.run_id for run in (bare, corrupt, whole)])
    assert origins.of[bare.run_id].commit == "–"
    assert origins.of[corrupt.run_id].status == "corrupt"
    assert origins.of[whole.run_id].hardware == "NVIDIA H100"
    assert origins.of[whole.run_id].commit == "–"
    assert origins.distinct("hardware", origins.of) == ["NVIDIA H100"]
    assert len(origins.codes) == 2
    assert origins.letter(bare.run_id) == origins.letter(corrupt.run_id) != origins.letter(whole.run_id)
