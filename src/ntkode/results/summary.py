"""The summary of a run's history."""

import math
from collections.abc import Iterable, Mapping
from typing import Any


def summarise(history: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The last value of each metric, and its first, smallest and largest finite value.

    Returns:
        `step`, and for each metric `<name>` (the last value, finite or not), `<name>.first`, `<name>.min` and
        `<name>.max` (omitted if no value is finite).
    """
    series: dict[str, list[Any]] = {}
    for row in history:
        for name, value in row.items():
            series.setdefault(name, []).append(value)
    summary: dict[str, Any] = {}
    for name, values in series.items():
        summary[name] = values[-1]
        finite = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
        if finite and name != "step":
            summary[f"{name}.first"] = finite[0]
            summary[f"{name}.min"] = min(finite)
            summary[f"{name}.max"] = max(finite)
    return summary
