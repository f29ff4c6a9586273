"""Labels of records in figures are drawn as they are, whatever characters they have."""

import warnings

import pytest
from matplotlib.figure import Figure
from tests.results.stored import store

from ntkode.report import report_sweep
from ntkode.report.console import RecordConsole
from ntkode.report.figures.data_text import show_as_data
from ntkode.report.page import write_page
from ntkode.report.training.curves import save

LABELS = (r"$\frac{$", "a$b", "$", r"\$5 and $\nope$", "\x1b[2J", "\x07")


@pytest.mark.parametrize("label", LABELS)
def test_any_label_can_be_drawn(tmp_path, label):
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], label=label)
    axes.set_xticks([0, 1], [label, "x"])
    axes.set_title(label)
    figure.legend()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # for characters that the font lacks
        save(figure, tmp_path / "figure")


@pytest.mark.parametrize("label", [r"$\lambda_{\min}$ of $\Theta$", "tanh", "price 5\\$", "two\nlines"])
def test_formulas_and_plain_labels_stay(label):
    figure = Figure()
    title = figure.suptitle(label)
    show_as_data(figure)
    assert title.get_text() == label


def test_a_sweep_with_such_labels_is_reported(tmp_path):
    for number, label in enumerate(LABELS):
        store(tmp_path, f"run-{number}", sweep="s", activation=label)
    assert len(report_sweep(tmp_path, "s", RecordConsole(quiet=True))) == len(LABELS)
    assert not write_page(tmp_path, tmp_path / "page", []).omissions
