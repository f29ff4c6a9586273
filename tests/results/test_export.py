"""Stored runs as Parquet and CSV."""

import json

import pandas as pd
import pytest
from tests.results.stored import store

from ntkode.results import export, load, load_history


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "results"
    for run_id, rate in (("a", "auto"), ("b", 0.1), ("c", None)):
        flag = True if run_id == "a" else None
        store(folder, run_id, config={"lr": rate, "layers": [64, 64], "flag": flag})
    store(folder, "d", status="diverged")
    return folder


def test_both_formats_hold_runs_and_history(folder, tmp_path):
    paths = export(folder, tmp_path / "out", status="done")
    assert [path.name for path in paths] == ["runs.parquet", "runs.csv", "history.parquet", "history.csv"]
    runs, history = load(folder, status="done"), load_history(folder, status="done")
    for read, kind in ((pd.read_parquet, "parquet"), (pd.read_csv, "csv")):
        table = read(tmp_path / "out" / f"history.{kind}")
        pd.testing.assert_frame_equal(table, history, check_exact=True, check_dtype=False)
        table = read(tmp_path / "out" / f"runs.{kind}")
        assert list(table) == list(runs)
        assert table["loss/train"].tolist() == runs["loss/train"].tolist()
        # A column of several types is stored as JSON text.
        assert table["config.lr"].iloc[:2].tolist() == ['"auto"', "0.1"]
        assert table["config.lr"].isna().tolist() == [False, False, True]
        assert table["config.layers"].map(json.loads).tolist() == [[64, 64]] * 3
        assert table["config.flag"].iloc[0]


def test_another_format_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=r"format=xlsx is not one of parquet, csv.*format=parquet"):
        export(folder, tmp_path / "out", formats=["xlsx"])
    assert not (tmp_path / "out").exists()
