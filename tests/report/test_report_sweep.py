"""The tables and files of a sweep."""

import io

import pandas as pd
import pytest
from rich.console import Console

from ntkode.report import report_sweep
from ntkode.results import NoResults


def test_it_prints_the_table_and_writes_the_files_beside_the_index(store):
    for activation in ("tanh", "relu"):
        store(activation)
    output = io.StringIO()
    table = report_sweep(store.results_dir, "s", Console(file=output, width=40))
    folder = store.results_dir / "sweeps" / "s"
    assert pd.read_csv(folder / "comparison.csv")["final loss"].tolist() == table["final loss"].tolist()
    for kind in ("csv", "png", "pdf"):
        assert str(folder / f"comparison.{kind}") in output.getvalue()  # not wrapped on a narrow terminal
        assert (folder / f"comparison.{kind}").stat().st_size > 0


def test_another_folder(store, tmp_path):
    store("tanh", steps=2)
    report_sweep(store.results_dir, "s", Console(file=io.StringIO()), out=tmp_path / "there")
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [
        "comparison.csv",
        "comparison.pdf",
        "comparison.png",
    ]


def test_a_sweep_that_has_only_failed_is_reported(store):
    record = store("tanh", steps=0, status="error", message="broke")
    (record.directory / "history.jsonl").unlink()
    (record.directory / "summary.json").unlink()
    record.finish("error", "broke")
    output = io.StringIO()
    report_sweep(store.results_dir, "s", Console(file=output, width=100))
    assert "broke" in output.getvalue()


@pytest.mark.parametrize(("digests", "named"), [("ab", True), ("aa", False), ("a", False)])
def test_runs_of_different_code_are_not_mixed_silently(store, digests, named):
    for seed, digest in enumerate(digests):
        store("tanh", seed=seed, steps=1).write_provenance({"sources_sha256": digest})
    store("tanh", seed=9, steps=1)  # failed before its provenance was known
    output = io.StringIO()
    report_sweep(store.results_dir, "s", Console(file=output, width=200))
    assert ("2 versions of ntkode's code computed these runs" in output.getvalue()) == named


def test_an_unknown_sweep_writes_nothing(store):
    store("tanh", steps=1)
    with pytest.raises(NoResults, match="other"):
        report_sweep(store.results_dir, "other", Console(file=io.StringIO()))
    assert not (store.results_dir / "sweeps" / "other").exists()
