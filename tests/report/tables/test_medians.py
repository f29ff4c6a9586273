"""Medians over the runs of each group."""

import pandas as pd

from ntkode.report.tables.comparison import Column
from ntkode.report.tables.medians import medians

RUNS = pd.DataFrame(
    {
        "run_id": list("abcd"),
        "status": ["done", "done", "diverged", "error"],
        "config.choices.activation": ["tanh", "tanh", "tanh", "relu"],
        "loss/train": [1.0, 3.0, 50.0, None],
    }
)
KEYS = {"config.choices.activation": "activation"}
LOSS = Column("loss/train", "loss", "loss")


def test_medians_are_of_the_done_runs_of_a_group():
    table = medians(RUNS, KEYS, [LOSS]).set_index("activation")
    assert table.loc["tanh", ["loss", "runs", "done", "ended"]].tolist() == [2.0, 3, 2, "diverged"]
    assert table.loc["relu", ["runs", "done", "ended"]].tolist() == [1, 0, "error"]


def test_groups_whose_runs_all_failed_before_a_measurement_have_their_counts():
    table = medians(RUNS.assign(status="error").drop(columns="loss/train"), KEYS, [LOSS])
    assert list(table) == ["activation", "runs", "done", "ended"]
    assert table["runs"].tolist() == [3, 1]
