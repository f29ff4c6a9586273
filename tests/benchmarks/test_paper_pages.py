"""`python benchmarks/paper_pages.py`: the documentation's pages match the stored verdicts."""

from pathlib import Path

import pandas as pd
import pytest

from ntkode.results import RunRecord

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
VERDICTS = {
    "study": "horizon",
    "claim": ["a", "b"],
    "verdict": ["supported", "inconclusive"],
    "estimate": [1.5, float("nan")],
    "low": [1.25, float("nan")],
    "high": [1.75, float("nan")],
    "replicates": [3, 0],
    "expected": ["> 1", "< 2"],
    "quantity": ["a|b", "λ_min"],
    "statement": ["it grows", "it *falls*"],
    "source": "us",
    "reason": ["so", "no replicate"],
}


@pytest.fixture
def pages(entry, monkeypatch, tmp_path):
    """The script's module, writing to the test's folder."""
    from ntkode.cli import paper_pages as module

    monkeypatch.setattr(module, "PAGES", tmp_path / "pages")
    module.PAGES.mkdir()
    return module


def stored(experiment, results):
    record = RunRecord.open(results, "run")
    experiment.index.add("run", "a job")
    record.begin({"n_train": 256, "steps": 100, "choices": {}})
    record.write_provenance(
        {"git": {"commit": "0123456789abcdef", "dirty": False}, "hardware": {"cpu": "C1"}}
    )
    record.write_summary({"cost/run_seconds": 120.0, "loss/train": 0.5})
    record.finish("done")
    pd.DataFrame(VERDICTS).to_csv(experiment.index.directory / "horizon_verdicts.csv", index=False)
    (experiment.index.directory / "horizon_medians.csv").write_text("width,loss\n64,0.5\n")
    (experiment.index.directory / "horizon.png").write_bytes(b"a picture")


def test_a_page_holds_verdicts_reasons_and_provenance(pages, tmp_path):
    experiment = pages.Experiment("horizon", (f"results_dir={tmp_path / 'results'}",))
    stored(experiment, tmp_path / "results")
    assert pages.main([f"results_dir={tmp_path / 'results'}"]) == 0
    text = (pages.PAGES / "horizon.md").read_text()
    assert "| claim | measured (95 % interval) | replicates | expected | verdict |" in text
    assert "| it grows<br>*a\\|b* | 1.5 (1.25 … 1.75) | 3 | > 1 | **supported** |" in text
    assert "it \\*falls\\*<br>*λ\\_min*" in text
    assert "- *it \\*falls\\**: no replicate" in text
    assert "1 runs (1 done), 2 core minutes in total, at n_train=256, steps=100; commit" in text
    assert "commit 0123456789; C1" in text
    assert "[horizon_verdicts.csv](horizon_verdicts.csv), [horizon_medians.csv](horizon_medians.csv)" in text
    assert (pages.PAGES / "horizon_medians.csv").read_text() == "width,loss\n64,0.5\n"
    assert (pages.PAGES / "horizon.png").read_bytes() == b"a picture"
    assert [path.name for path in sorted(pages.PAGES.glob("*.md"))] == [
        "horizon.md"
    ]  # others have no verdicts


def test_text_above_the_marker_is_kept(pages, tmp_path):
    overrides = (f"results_dir={tmp_path / 'results'}",)
    stored(pages.Experiment("horizon", overrides), tmp_path / "results")
    page = pages.PAGES / "horizon.md"
    assert pages.main([*overrides]) == 0
    made = page.read_text()
    assert made.startswith("# horizon\n")
    assert "![" in made.partition(pages.MARKER)[0]
    old = f"# Long horizons\n\nWhat follows.\n\n{pages.MARKER}\n\n| of | old |\n"
    page.write_text(old)
    assert pages.main([*overrides]) == 0
    assert page.read_text() == old.partition("| of")[0] + made.partition(f"{pages.MARKER}\n\n")[2]
    once = page.read_text()
    assert pages.main([*overrides]) == 0
    assert page.read_text() == once


def test_without_results_it_says_what_to_run(pages, tmp_path):
    with pytest.raises(SystemExit, match="make paper"):
        pages.main([f"results_dir={tmp_path / 'results'}"])
