"""The picture of a sweep."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from ntkode.report import save, training_figure

STEPS = np.arange(41)
LOSS, LAMBDA_MIN, GRADIENT_ERROR, DRIFT = range(4)


def history(*run_ids, **changes):
    frames = []
    for index, run_id in enumerate(run_ids):
        sparse = np.where(STEPS % 10 == 0, 1.0, np.nan)
        columns = {
            "loss/ratio": np.exp(-0.02 * (index + 1) * STEPS),
            "loss/predicted_ratio": np.exp(-0.03 * STEPS),
            "ntk/lambda_min": 0.1 * sparse,
            "ntk/resolution": 1e-11 * sparse,
            "gradient/relative_error": 1e-6 * sparse,
            "ntk/drift": 0.01 * STEPS * sparse,
        }
        frames.append(pd.DataFrame({"run_id": run_id, "step": STEPS, **columns, **changes}))
    return pd.concat(frames, ignore_index=True)


def lines(figure, panel):
    return figure.axes[panel].get_lines()


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_line_a_run_in_each_panel_and_one_legend():
    figure = training_figure(history("a", "b", "c"), {"a": "tanh", "b": "softplus", "c": "relu"})
    assert len(figure.axes) == 4
    for panel in (LAMBDA_MIN, GRADIENT_ERROR, DRIFT):
        assert len(lines(figure, panel)) == 3
    assert len(lines(figure, LOSS)) == 6  # and the prediction of each
    assert legend_texts(figure) == ["tanh", "softplus", "relu"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log", "log", "linear"]


def test_the_lines_have_the_measured_values():
    figure = training_figure(history("a"), {"a": "tanh"})
    (drift,) = lines(figure, DRIFT)
    assert drift.get_xdata().tolist() == [0, 10, 20, 30, 40]  # only where it was measured, and joined
    assert drift.get_ydata() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert drift.get_marker() == "o"
    predicted, loss = lines(figure, LOSS)
    assert loss.get_ydata() == pytest.approx(np.exp(-0.02 * STEPS))
    assert loss.get_marker() == ""
    assert predicted.get_color() == loss.get_color()
    assert predicted.get_linewidth() < loss.get_linewidth()


def test_seeds_share_a_style_and_a_legend_entry():
    figure = training_figure(history("a", "b", "c"), {"a": "tanh", "b": "tanh", "c": "relu"})
    colours = [line.get_color() for line in lines(figure, DRIFT)]
    assert colours[0] == colours[1] != colours[2]
    assert legend_texts(figure) == ["tanh", "relu"]


def test_many_runs_stay_distinct():
    names = {f"r{number}": f"activation {number}" for number in range(26)}
    figure = training_figure(history(*names), names)
    styles = {
        (line.get_color(), str(line.get_linestyle()), line.get_marker()) for line in lines(figure, DRIFT)
    }
    assert len(styles) == 26
    assert len(legend_texts(figure)) == 26


def test_empty_panels_say_not_measured():
    bare = history("a")[["run_id", "step", "loss/ratio"]]
    figure = training_figure(bare, {"a": "tanh"})
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert said == [[], ["not measured"], ["not measured"], ["not measured"]]


def test_no_history_at_all(tmp_path):
    empty = pd.DataFrame(columns=["run_id", "step"])
    assert all(path.exists() for path in save(training_figure(empty, {"a": "tanh"}), tmp_path / "x"))


def test_non_finite_values_are_left_out(tmp_path):
    ratio = np.where(STEPS < 20, 1.0 * 2.0**STEPS, np.inf)
    figure = training_figure(history("a", **{"loss/ratio": ratio}), {"a": "relu"})
    assert lines(figure, LOSS)[1].get_xdata().max() == 19
    save(figure, tmp_path / "x")


def test_lambda_min_below_its_resolution_is_drawn_at_it():
    noisy = np.where(STEPS % 10 == 0, -1e-13, np.nan)
    figure = training_figure(history("a", **{"ntk/lambda_min": noisy}), {"a": "identity"})
    floor, line = lines(figure, LAMBDA_MIN)
    assert set(floor.get_ydata()) == set(line.get_ydata()) == {1e-11}
    assert [text.get_text() for text in figure.axes[LAMBDA_MIN].texts] == ["resolution"]


def test_png_and_pdf_are_stored(tmp_path):
    paths = save(training_figure(history("a"), {"a": "tanh"}), tmp_path / "new" / "lr=0.1")
    assert [path.name for path in paths] == ["lr=0.1.png", "lr=0.1.pdf"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert paths[1].read_bytes().startswith(b"%PDF")


def test_the_same_numbers_give_the_same_files(tmp_path):
    first, second = (
        [path.read_bytes() for path in save(training_figure(history("a"), {"a": "tanh"}), tmp_path / name)]
        for name in ("x", "y")
    )
    assert first == second


def test_no_global_state_of_pyplot_and_no_slow_import():
    slow = "{'matplotlib.pyplot', 'scipy.stats'}"
    code = f"import sys, ntkode.report; print({slow} & set(sys.modules) or 'none')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "none"
