"""Statistics of replicates: one value each, and NaN where a run of the replicate failed."""

import math

import pandas as pd
import pytest

from ntkode.report.statistics.replicates import value

TANH = {"config.choices.activation": "tanh"}


def runs_of(errors, failed=()):
    """Two widths per seed with these errors; `failed` holds (seed, width) of runs that diverged."""
    rows = [
        {
            "config.seed": seed,
            "config.choices.activation": "tanh",
            "config.model.width": width,
            "error": error,
            "status": "diverged" if (seed, width) in failed else "done",
        }
        for seed, pair in enumerate(errors)
        for width, error in zip((64, 128), pair, strict=True)
    ]
    return pd.DataFrame(rows)


def test_the_value_of_a_replicate_is_the_mean_over_its_runs():
    values = value("error", TANH)(runs_of([(1.0, 3.0), (2.0, 6.0)]))
    assert values.to_dict() == {"seed 0": 2.0, "seed 1": 4.0}


@pytest.mark.parametrize("missing", ["failed", "not a number"])
def test_a_replicate_with_one_failed_run_has_no_value(missing):
    """A mean over the remaining runs would depend on which ones failed."""
    errors = [(1.0, math.nan if missing == "not a number" else 3.0), (2.0, 6.0)]
    values = value("error", TANH)(runs_of(errors, failed={(0, 128)} if missing == "failed" else ()))
    assert list(values.index) == ["seed 0", "seed 1"]
    assert values.isna().tolist() == [True, False]
    assert values["seed 1"] == 4.0
