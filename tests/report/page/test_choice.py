"""The sweeps on the page, and the messages about those that cannot be on it."""

import os

import pytest
from tests.report.conftest import store_run
from tests.report.page.conftest import ask

from ntkode.report import registry
from ntkode.report.page import write_page
from ntkode.report.page.choice import SweepChoice, choose
from ntkode.results import NoResults, SweepIndex


def aged(results, *sweeps):
    """Set the times of the sweeps, the first one newest."""
    for age, sweep in enumerate(sweeps):
        os.utime(SweepIndex(results, sweep).directory / "index.jsonl", (1000 - age, 1000 - age))


@pytest.fixture(autouse=True)
def tables_alone(monkeypatch):
    """Reports of training without a figure, which takes seconds to draw."""
    monkeypatch.delitem(registry.REPORTS, "training")


@pytest.fixture
def results(tmp_path):
    """Two sweeps of an experiment that share a run, one of a study, one whose index has no choices."""
    run = store_run(tmp_path, "tanh", steps=4, sweep="old")
    for sweep in ("second", "first"):
        ask(tmp_path, sweep, run, experiment="smoke", study="training")
    ask(tmp_path, "study", run, study="width_limit")
    aged(tmp_path, "second", "study", "first", "old")
    return tmp_path


def test_the_default_is_the_newest_sweep_of_each_study(results):
    assert choose(results) == [
        SweepChoice("smoke", "second", ("first",)),
        SweepChoice("width_limit", "study"),
        SweepChoice("training", "old"),
    ]


def test_sweeps_by_name(results):
    assert choose(results, ["first", "old"]) == [
        SweepChoice("smoke", "first"),
        SweepChoice("training", "old"),
    ]


def test_unknown_sweeps_and_empty_folders_are_one_clear_error(results, tmp_path_factory):
    with pytest.raises(NoResults, match=r"no sweep 'other' .*second, study, first, old"):
        choose(results, ["other"])
    with pytest.raises(NoResults, match="make run"):
        write_page(tmp_path_factory.mktemp("empty"), results / "out")
    assert not (results / "out").exists()


def test_a_sweep_of_two_studies_has_two_sections(results):
    other = store_run(results, "relu", steps=4, sweep="first")
    ask(results, "first", other, experiment="gradient_kinks", study="training")
    assert SweepChoice("gradient_kinks", "first") in choose(results)
    page = write_page(results, results / "out", ["first"])
    assert page.sections == 2
    assert sorted(path.name for path in (results / "out").iterdir()) == [
        "gradient_kinks",
        "report.html",
        "smoke",
    ]


def test_a_corrupt_record_is_left_out_and_named(results):
    broken = store_run(results, "relu", steps=4, sweep="broken")
    ask(results, "broken", store_run(results, "softplus", steps=4, sweep="more"), study="training")
    (broken.directory / "status.json").write_text("{")
    page = write_page(results, results / "out", ["broken"])
    [omission] = page.omissions
    assert broken.run_id in omission.why
    assert broken.run_id in page.path.read_text()


def test_a_report_that_fails_does_not_affect_the_others(results, monkeypatch):
    def fail(runs, results_dir):
        raise KeyError("ntk/limit_distance.first")

    monkeypatch.setitem(registry.REPORTS, "width_limit", fail)
    page = write_page(results, results / "out")
    [omission] = page.omissions
    assert omission.what == "width_limit (sweep study)"
    assert "KeyError" in omission.why
    assert "ntk/limit_distance.first" in page.path.read_text()
    assert page.sections == 2


def test_no_readable_run_is_one_clear_error(tmp_path):
    record = store_run(tmp_path, "tanh", steps=2)
    (record.directory / "config.json").unlink()
    with pytest.raises(NoResults, match=r"nothing to report.*no readable run"):
        write_page(tmp_path, tmp_path / "out")


def test_runs_without_history_have_no_curves(tmp_path):
    record = store_run(tmp_path, "tanh", steps=0, status="error", message="broke")
    (record.directory / "history.jsonl").unlink()
    (record.directory / "summary.json").unlink()
    record.finish("error", "broke")
    text = write_page(tmp_path, tmp_path / "out").path.read_text()
    assert 'class="explore"' not in text
    assert "broke" in text
