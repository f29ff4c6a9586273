"""The report of study=gradient_accuracy on stored runs with known power laws."""

import io
import math

import pandas as pd
import pytest
from rich.console import Console

from ntkode.report import report_of, report_sweep
from ntkode.report.gradients.points import END, START, gradient_points
from ntkode.results import RunRecord, SweepIndex, load, run_id, summarise

ORDERS = {"tanh": 4.0, "elu": 2.0, "relu": 1.0}
STEPS = (5, 10, 20)


def store(directory, activation, error, *, resolution, method="backprop", seed=0, status="done", **changes):
    """Store a run with this `error` at the start and three times that after ten training steps."""
    solver = {"atol": resolution["rtol"], **resolution} if "rtol" in resolution else resolution
    config = {
        "choices": {"study": "gradient_accuracy", "activation": activation, "gradient": method, **changes},
        "activation": {"name": activation},
        "gradient": {"_target_": method},
        "solver": {"method": changes.get("solver", "rk4"), **solver},
        "model": {"solver": solver, "activation": {"name": activation}},
        "dtype": "float64",
        "seed": seed,
    }
    record = RunRecord.open(directory, run_id(config))
    SweepIndex(directory, "s").add(record.run_id, f"{activation} {resolution} {method} {seed} {changes}")
    record.begin(config)
    for step, factor in ((0, 1.0), (10, 3.0)):
        record.append({"step": step, **row(resolution, factor * error)})
    record.write_summary(summarise(record.history()))
    record.finish(status, "broke" if status != "done" else "")
    return record.run_id


def row(resolution, error):
    steps = resolution.get("steps") or 10 * math.log(1 / resolution["rtol"])
    return {
        "gradient/relative_error": error,
        "gradient/reference_error": 1e-9,
        "gradient/cosine": 1 - error**2,
        "gradient/part/rounding": 0.0,
        "gradient/part/backward": 0.25 * error,
        "gradient/part/forward": 0.75 * error,
        "gradient/part/otd_gap": 0.125 * error,
        "cost/nfe_forward": 4.0 * steps,
        "cost/nfe_backward": 4.0 * steps,
        "cost/gradient_seconds": 1e-3 * steps,
        "cost/gradient_memory": 0.5 * steps,
    }


def store_orders(directory, seeds=(0, 1), **options):
    for activation, order in ORDERS.items():
        for steps in STEPS:
            for seed in seeds:
                error = 0.01 * (1 + seed) * steps**-order
                store(directory, activation, error, resolution={"steps": steps}, seed=seed, **options)


def report(directory):
    return report_of("gradient_accuracy")(load(directory, "s"), directory)


def orders(directory):
    return report(directory).tables["gradient_accuracy_orders"].set_index(["moment", "activation", "method"])


def rendered(made):
    console = Console(file=io.StringIO(), width=110)
    console.print(made.rendering)
    return console.file.getvalue()


def test_steps_give_their_orders_at_the_start_and_at_the_end(tmp_path):
    store_orders(tmp_path)
    store_orders(tmp_path, method="adjoint")
    table = orders(tmp_path)
    assert len(table) == 2 * 2 * 3
    for (_, activation, _), row in table.iterrows():
        assert row["order"] == pytest.approx(ORDERS[activation])
        assert row["end_order"] == pytest.approx(ORDERS[activation])
        assert (row["points"], row["seeds"], row["in"]) == (3, 2, "steps")
    assert set(table.index.get_level_values("moment")) == {START, END}
    assert set(table.index.get_level_values("method")) == {"backprop", "adjoint"}


def test_tables_and_pictures_become_files(tmp_path):
    store_orders(tmp_path, seeds=(0,))
    store_orders(tmp_path, seeds=(0,), method="adjoint")
    output = io.StringIO()
    report_sweep(tmp_path, "s", Console(file=output, width=110))
    printed = output.getvalue()
    for name in ("gradient_accuracy.csv", "gradient_accuracy_orders.csv", "gradient_accuracy.png"):
        assert f"sweeps/s/{name}" in printed.replace("\n", "")
    assert len(pd.read_csv(tmp_path / "sweeps" / "s" / "gradient_accuracy.csv")) == 18
    assert max(map(len, printed.split("/sweeps")[0].splitlines()[:-1])) <= 110


def test_tolerances_give_the_exponent_of_the_tolerance(tmp_path):
    for exponent, rtol in enumerate((1e-2, 1e-3, 1e-4)):
        store(tmp_path, "relu", 0.1 * rtol**0.3, resolution={"rtol": rtol})
        store(tmp_path, "tanh", 10.0 ** -(exponent + 2), resolution={"rtol": rtol})
    table = orders(tmp_path)
    assert table.loc[(START, "relu", "backprop"), "order"] == pytest.approx(0.3)
    assert table.loc[(START, "tanh", "backprop"), "order"] == pytest.approx(1.0)
    assert set(table["in"]) == {"tolerance"}
    assert "tol 1e-03" in rendered(report(tmp_path))


def test_errors_below_the_references_error_are_not_fitted(tmp_path):
    for steps in (5, 10, 20, 40, 80):  # at 40 steps 1.6 times the reference's error, at 80 below it
        error = max(4e-3 * steps**-4.0, 5e-10) if steps < 80 else 0.0
        store(tmp_path, "tanh", error, resolution={"steps": steps})
    points = gradient_points(load(tmp_path, "s"))
    assert points.loc[points["moment"] == START, "known"].tolist() == [True, True, True, False, False]
    row = orders(tmp_path).loc[START].iloc[0]
    assert row["order"] == pytest.approx(4.0)
    assert row["points"] == 3
    figure = report(tmp_path).figure
    hollow = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[40]]  # zero is not on a logarithmic axis


def test_rounding_of_the_dtype_is_a_floor_if_it_was_not_measured(tmp_path):
    store(tmp_path, "tanh", 1e-7, resolution={"steps": 5})
    runs = load(tmp_path, "s").assign(**{"config.dtype": "float32"})
    runs = runs.drop(columns=[name for name in runs if name.startswith(("gradient/part", "gradient/ref"))])
    assert gradient_points(runs)["known"].tolist() == [False, False]  # 1e-7 and 3e-7
    assert gradient_points(runs.assign(**{"config.dtype": "float64"}))["known"].all()


def test_one_seed_and_one_resolution(tmp_path):
    store(tmp_path, "tanh", 1e-3, resolution={"steps": 10})
    assert "0.00100" in rendered(report(tmp_path))
    assert orders(tmp_path)["order"].isna().all()


def test_the_decomposition_is_printed_at_a_middle_resolution(tmp_path):
    store_orders(tmp_path, seeds=(0,))
    lines = [line.split() for line in rendered(report(tmp_path)).splitlines() if "10 steps" in line]
    assert [line[0] for line in lines] == list(ORDERS)
    tanh = lines[0]
    assert tanh[:8] == ["tanh", "backprop", "10", "steps", "1.00e-6", "2.50e-7", "7.50e-7", "1.25e-7"]


def test_the_figure_has_one_panel_per_method_and_three_of_cost(tmp_path):
    store_orders(tmp_path)
    store_orders(tmp_path, method="adjoint")
    figure = report(tmp_path).figure
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "backprop",
        "adjoint",
        "Evaluations of the field",
        "Time of a gradient",
        "Memory of a gradient",
    ]
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["tanh  4.0 (4.0)", "elu  2.0 (2.0)", "relu  1.0 (1.0)"]
    seeds, medians, line = figure.axes[0].get_lines()[:3]
    assert len(seeds.get_xdata()) == 6
    assert medians.get_ydata()[0] == pytest.approx(0.015 * 5**-4.0)
    assert list(line.get_xdata()) == [5, 20]
    nfe = figure.axes[2].get_lines()
    assert len(nfe) == 6
    assert list(nfe[0].get_xdata()) == [8 * steps for steps in STEPS]


def test_many_groups_stay_distinct(tmp_path):
    for solver in ("midpoint", "rk4"):
        for method in ("backprop", "adjoint", "reversible"):
            store_orders(tmp_path, seeds=(0,), method=method, solver=solver)
    figure = report(tmp_path).figure
    lines = figure.axes[6].get_lines()
    looks = {(line.get_color(), str(line.get_linestyle()), line.get_marker()) for line in lines}
    assert len(looks) == len(lines) == 18


def test_a_sweep_of_one_number_has_one_shade_per_value(tmp_path):
    for steps in STEPS:
        store(tmp_path, "softplus", steps**-4.0, resolution={"steps": steps})
    stored = load(tmp_path, "s")
    runs = pd.concat([stored.assign(**{"config.activation.beta": b}) for b in (1, 4, 16)], ignore_index=True)
    runs["run_id"] = [f"r{number}" for number in range(len(runs))]
    figure = report_of("gradient_accuracy")(runs, tmp_path).figure
    medians = figure.axes[0].get_lines()[::2]
    assert len({line.get_color() for line in medians}) == 3
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert [label.split("  ")[0] for label in labels] == [
        "softplus, beta=1",
        "softplus, beta=4",
        "softplus, beta=16",
    ]


def test_failed_runs_are_named_and_left_out(tmp_path):
    store_orders(tmp_path)
    failed = store(tmp_path, "tanh", 1.0, resolution={"steps": 40}, status="diverged")
    printed = rendered(report(tmp_path))
    assert failed in printed.replace("\n", "")
    assert "broke" in printed
    assert orders(tmp_path).loc[(START, "tanh", "backprop"), "order"] == pytest.approx(4.0)


def test_a_sweep_in_which_all_runs_failed(tmp_path):
    store(tmp_path, "tanh", 1.0, resolution={"steps": 40}, status="error")
    printed = rendered(report(tmp_path))
    assert "no run measured" in printed
    assert "broke" in printed


def test_a_sweep_without_the_metrics_names_them(tmp_path):
    store(tmp_path, "tanh", 1.0, resolution={"steps": 40})
    runs = load(tmp_path, "s")
    runs = runs.drop(columns=[name for name in runs if name.startswith(("gradient/", "cost/"))])
    made = report_of("gradient_accuracy")(runs, tmp_path)
    assert "metrics=gradient" in rendered(made)
    assert [text.get_text() for axes in made.figure.axes for text in axes.texts] == ["not measured"] * 4
