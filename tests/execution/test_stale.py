"""Stored runs of other code or other data are recognised."""

import sys

import numpy as np
import pytest

from ntkode.execution.stale import StaleRuns, stale_runs
from ntkode.results import SOURCES_SHA256, RunRecord, user_code

READER = """
from pathlib import Path
import numpy as np
from ntkode.data import DataModule
from ntkode.data.sources import Source, Table

class Mine(DataModule):
    name, licence, citation = "mine", "none", "none"

    def __init__(self, **common):
        super().__init__(targets="raw", **common)

    def read(self):
        rows = np.loadtxt(Path(__file__).with_name("mine.csv"), delimiter=",", ndmin=2)
        return Source("mine.csv", Table(rows[:, :1], rows[:, 1:]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An importable folder with a data set of the user."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_reader", raising=False)
    (tmp_path / "mine_reader.py").write_text(READER)
    np.savetxt(tmp_path / "mine.csv", np.arange(24.0).reshape(12, 2) ** 2, delimiter=",")
    return tmp_path


@pytest.fixture
def stored(folder):
    """The record of a run on the user's data, or one with this provenance."""

    def call(name="run", **provenance):
        config = {
            "dataset": {"_target_": "mine_reader.Mine", "n_train": 8, "n_test": 4, "steps": 1, "seed": 0},
            "seed": 0,
        }
        record = RunRecord(folder / "results" / name)
        record.begin(config)
        whole = {"sources_sha256": SOURCES_SHA256, "dataset": {"sha256": digest(config)}}
        record.write_provenance(whole | {"user_code": user_code(config)} | provenance)
        return record

    return call


def digest(config):
    from hydra.utils import instantiate

    data = instantiate(config["dataset"])
    data.setup()
    return data.description["sha256"]


def test_runs_of_the_present_code_and_data_are_not_stale(stored):
    assert stale_runs([stored("a"), stored("b")]) == StaleRuns()


def test_other_sources_of_ntkode(stored):
    assert stale_runs([stored("a", sources_sha256="0"), stored("b")]) == StaleRuns(by_ntkode=["a"])


def test_edited_data(stored, folder, capfd):
    records = [stored("a"), stored("b")]
    capfd.readouterr()
    np.savetxt(folder / "mine.csv", np.arange(24.0).reshape(12, 2) ** 3, delimiter=",")
    assert stale_runs(records) == StaleRuns(by_user=["a", "b"], changed={"data"})
    assert capfd.readouterr().err == ""  # the warnings on these data belong to runs


def test_edited_code(stored, folder):
    record = stored()
    path = folder / "mine_reader.py"
    path.write_text(path.read_text() + "# edited\n")
    assert stale_runs([record]) == StaleRuns(by_user=["run"], changed={"mine_reader"})


def test_code_that_is_imported_now_or_was_before(stored, folder):
    record = stored(user_code={"mine_gone": "0"})
    assert stale_runs([record]).changed == {"mine_gone", "mine_reader"}


def test_data_that_cannot_be_read_are_not_compared(stored, folder):
    record = stored()
    (folder / "mine.csv").unlink()
    assert stale_runs([record]) == StaleRuns()


def test_runs_without_the_digests_are_not_compared(stored, folder):
    record = stored()
    record.write_provenance({"sources_sha256": SOURCES_SHA256, "dataset": {}})
    assert stale_runs([record]).by_user == []
    (record.directory / "provenance.json").unlink()
    assert stale_runs([record]) == StaleRuns()


@pytest.mark.parametrize("file", ["provenance.json", "config.json"])
def test_unreadable_runs_are_left_out(stored, file):
    record = stored("a", sources_sha256="0")
    (record.directory / file).write_text("{")
    assert stale_runs([record, stored("b")]) == StaleRuns()
