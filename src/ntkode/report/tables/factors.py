"""The settings in which runs differ, with the value of each run: switches of the page, groups of figures."""

from dataclasses import dataclass

import pandas as pd

from ntkode.report.tables.comparison import comparison
from ntkode.report.tables.rendering import as_text, missing

MOST_VALUES = 12
"""Most values of a factor."""
SEEDS = ("seed", "dataset.seed")
_OUTCOME = ("status", "run_id", "message", "remedy")


@dataclass(frozen=True)
class Factor:
    """A setting in which runs differ.

    Attributes:
        name: the config key or group, such as `activation`.
        values: its values as text; numbers ascending, others in the order of the runs.
        of: the index in `values` of each run.
    """

    name: str
    values: list[str]
    of: list[int]


def factors_of(runs: pd.DataFrame) -> list[Factor]:
    """The settings with 2 to `MOST_VALUES` values among the runs (see `ntkode.results.load`)."""
    table = comparison(runs, ()).drop(columns=list(_OUTCOME))
    texts = as_text(table)
    factors = []
    for name in table:
        values = list(dict.fromkeys(texts[name]))
        if not 2 <= len(values) <= MOST_VALUES:
            continue
        if not any(missing(value) or isinstance(value, str) for value in table[name]):
            values = [text for _, text in sorted(set(zip(table[name], texts[name], strict=True)))]
        factors.append(Factor(str(name), values, [values.index(text) for text in texts[name]]))
    return factors
