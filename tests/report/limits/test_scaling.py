"""Reports of the studies of limits on stored runs, and of sweeps that mix studies."""

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from ntkode.report import report_of, report_sweep
from ntkode.report.limits import depth_limit
from ntkode.report.registry import REPORTS
from ntkode.report.training import comparison as training
from ntkode.results import RunRecord, SweepIndex, load, run_id, summarise

CONF = Path(__file__).resolve().parents[3] / "conf" / "study"
SEED_FACTORS = (0.9, 1.0, 1.1)


def store_run(results_dir, study, activation, seed, rows, status="done", dataset=None, **model):
    config = {
        "choices": {"study": study, "activation": activation},
        "activation": {"name": activation},
        "model": model,
        "seed": seed,
        "dataset": dataset or {},
    }
    record = RunRecord.open(results_dir, run_id(config))
    SweepIndex(results_dir, "s").add(record.run_id, f"{study} {activation} {seed} {dataset} {model}")
    record.begin(config)
    for row in rows:
        record.append(row)
    record.write_summary(summarise(record.history()))
    record.finish(status, "broke" if status != "done" else "")


def width_rows(width, factor, trained=True):
    root = factor * width**-0.5
    first = {"step": 0, "ntk/drift": 0.0, "ntk/limit_distance": 3 * root, "nngp/limit_distance": 2 * root}
    last = {"step": 30, "ntk/drift": factor * width**-1.0, "ntk/limit_distance": 4 * root}
    return [first, last] if trained else [first]


def depth_row(depth, factor):
    columns = [quantity.column for quantity in depth_limit.SCALING.quantities]
    return {"step": 0} | {name: (k + 1) * factor / depth for k, name in enumerate(columns)}


def store_widths(directory, **options):
    for activation in ("tanh", "relu"):
        for width in (64, 128, 256):
            for seed, factor in enumerate(SEED_FACTORS):
                rows = width_rows(width, factor, **options)
                store_run(directory, "width_limit", activation, seed, rows, width=width)


def report_text(directory, **options):
    output = io.StringIO()
    report_sweep(directory, "s", Console(file=output, width=100), **options)
    return output.getvalue()


def slopes(directory, name):
    table = pd.read_csv(directory / "sweeps" / "s" / f"{name}_slopes.csv")
    return table.set_index(["quantity", "group"])


def test_width_limit_on_stored_runs(tmp_path):
    store_widths(tmp_path)
    printed = report_text(tmp_path)
    table = slopes(tmp_path, "width_limit")
    assert len(table) == 8
    for (quantity, _), row in table.iterrows():
        assert row["slope"] == pytest.approx(-1.0 if quantity == "drift" else -0.5)
        assert row["reference"] == (-1.0 if quantity == "drift" else -0.5)
        assert row["interval_low"] == pytest.approx(row["interval_high"])
        assert row["seeds"] == 3
    for name in ("width_limit.csv", "width_limit_slopes.csv", "width_limit.png", "width_limit.pdf"):
        assert f"sweeps/s/{name}" in printed.replace("\n", "")
        assert (tmp_path / "sweeps" / "s" / name).stat().st_size > 0
    assert "comparison" not in printed
    assert "−0.50" in printed
    assert len(pd.read_csv(tmp_path / "sweeps" / "s" / "width_limit.csv")) == 18
    assert "0.375" in printed  # the median of tanh at width 64: 3/8


def test_the_figure_has_points_medians_and_lines(tmp_path):
    store_widths(tmp_path)
    report = report_of("width_limit")(load(tmp_path, "s"), tmp_path)
    assert len(report.figure.axes) == 4
    for axes in report.figure.axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        points, medians, line = axes.get_lines()[:3]
        assert len(points.get_xdata()) == 9
        assert len(medians.get_xdata()) == 3
        assert list(line.get_xdata()) == [64, 256]
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels[0].startswith("tanh: −")
        assert labels[-1].startswith("reference: −")
    line = report.figure.axes[0].get_lines()[2]
    # The mean over seeds of log C is the mean of the factors' logarithms.
    assert line.get_ydata()[0] == pytest.approx(3 * (0.9 * 1.1) ** (1 / 3) / 8)


def test_runs_that_did_not_train_have_no_distance_after_training(tmp_path):
    store_widths(tmp_path, trained=False)
    report_text(tmp_path)
    assert set(slopes(tmp_path, "width_limit").reset_index()["quantity"]) == {"NTK distance", "NNGP distance"}
    report = report_of("width_limit")(load(tmp_path, "s"), tmp_path)
    said = [[text.get_text() for text in axes.texts] for axes in report.figure.axes]
    assert said == [[], [], ["not measured"], ["not measured"]]


def test_depth_limit_on_stored_runs(tmp_path):
    for depth in (10, 100, 1000):
        for seed, factor in enumerate(SEED_FACTORS):
            store_run(tmp_path, "depth_limit", "tanh", seed, [depth_row(depth, factor)], depth=depth, width=8)
    printed = report_text(tmp_path)
    table = slopes(tmp_path, "depth_limit")
    assert table["slope"].tolist() == pytest.approx([-1.0] * 4)
    assert "depth_limit.png" in printed


def test_draws_of_the_data_are_replicates_of_their_own(tmp_path):
    for depth in (10, 100, 1000):
        for draw, factor in enumerate((1.0, 2.0)):
            rows = [depth_row(depth, factor)]
            store_run(tmp_path, "depth_limit", "tanh", 0, rows, dataset={"seed": draw}, depth=depth, width=8)
    report_text(tmp_path)
    table = slopes(tmp_path, "depth_limit")
    assert table["seeds"].tolist() == [2] * 4
    assert table["slope"].tolist() == pytest.approx([-1.0] * 4)


def test_a_failed_run_is_named_and_left_out(tmp_path):
    store_widths(tmp_path)
    store_run(tmp_path, "width_limit", "tanh", 9, width_rows(512, 100.0), status="diverged", width=512)
    printed = report_text(tmp_path)
    assert "diverged" in printed
    assert "broke" in printed
    assert slopes(tmp_path, "width_limit")["slope"].tolist()[0] == pytest.approx(-0.5)


def test_a_sweep_in_which_all_runs_failed(tmp_path):
    store_run(tmp_path, "depth_limit", "tanh", 0, [], status="error", depth=10)
    assert "broke" in report_text(tmp_path)
    assert (tmp_path / "sweeps" / "s" / "depth_limit_slopes.csv").exists()


def test_a_single_run_has_no_slope_but_a_report(tmp_path):
    store_run(tmp_path, "depth_limit", "tanh", 0, [depth_row(10, 1.0)], depth=10)
    printed = report_text(tmp_path)
    assert "0.100" in printed


def test_a_sweep_of_several_studies_gets_one_report_per_study(store):
    directory = store.results_dir
    store("tanh", steps=5)
    store_widths(directory)
    store_run(directory, "mine", "tanh", 0, [{"step": 0, "loss/train": 0.25}], width=8)
    printed = report_text(directory).replace("\n", "")
    for name in ("comparison.csv", "comparison.png", "width_limit.csv", "width_limit.png", "mine.csv"):
        assert f"sweeps/s/{name}" in printed
    assert len(pd.read_csv(directory / "sweeps" / "s" / "comparison.csv")) == 1
    assert "mine.png" not in printed


def test_every_study_of_conf_has_a_report():
    assert report_of("training") is training.report
    assert {path.stem for path in CONF.glob("*.yaml")} == set(REPORTS)
