"""Daily weather from CSV files: reading, checks, and repair of known defects."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ntkode.data.errors import DataError
from ntkode.data.preprocessing import Floats

VARIABLES = ("meantemp", "humidity", "wind_speed", "meanpressure")
PRESSURES = (950.0, 1050.0)  # hPa; values outside are sensor errors
NAMES = {"training": "DailyDelhiClimateTrain.csv", "test": "DailyDelhiClimateTest.csv"}
REMEDY = "correct the file, or name another folder with dataset.data_dir=PATH"


@dataclass(frozen=True)
class Weather:
    """Weather of consecutive days, those of the training file first.

    Attributes:
        values: `VARIABLES` of each day, shape (days, 4), in °C, %, km/h and hPa.
        training_days: number of days from the training file.
        findings: digests of the files, periods and repairs; plain values for JSON.
    """

    values: Floats
    training_days: int
    findings: dict[str, Any] = field(default_factory=dict)


def read_weather(folder: Path) -> Weather:
    """The days of both files of `folder`.

    - Days that are in both files are dropped from the training file.
    - Pressures that are missing or outside 950–1050 hPa are replaced: in the training file by linear
      interpolation in time between its valid days, in the test file by the last valid day before, because the
      day after may be the one to predict.
    - Days out of order are sorted.

    Raises:
        DataError: a file or column is missing; a date is unreadable, duplicate or missing; the test file does
            not follow the training file; or a value other than a pressure is not a number.
    """
    tables = {split: _read(folder / name) for split, name in NAMES.items()}
    ordered = {split: table.sort_index() for split, table in tables.items()}
    training, test = ordered["training"], ordered["test"]
    shared = training.index.intersection(test.index)
    training = training.drop(shared)
    _check_days(training.index.append(test.index))
    pressures = pd.concat([training, test])["meanpressure"]
    valid = pressures.where(pressures.between(*PRESSURES))
    if valid[training.index].isna().all():
        raise DataError(f"{NAMES['training']} has no pressure from 950 to 1050 hPa", REMEDY)
    repaired = pd.concat(
        [valid[training.index].interpolate("time", limit_direction="both"), valid[test.index]]
    )
    days = pd.concat([training, test]).assign(meanpressure=repaired.ffill())
    replaced = valid.index[valid.isna()]
    return Weather(
        days[list(VARIABLES)].to_numpy(dtype=np.float64),
        len(training),
        {
            "files": {name: _sha256(folder / name) for name in NAMES.values()},
            "training_period": _dates(training.index[[0, -1]]),
            "test_period": _dates(test.index[[0, -1]]),
            "dropped_from_training": _dates(shared),
            "replaced_pressures": {
                "training": _dates(replaced.intersection(training.index)),
                "test": _dates(replaced.intersection(test.index)),
            },
            "sorted": [s for s, table in tables.items() if not table.index.is_monotonic_increasing],
        },
    )


def _read(path: Path) -> pd.DataFrame:
    """The table of one file, indexed by date."""
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise DataError(
            f"dataset.data_dir={path.parent} holds no {path.name}",
            f"dataset.data_dir=PATH with {' and '.join(NAMES.values())}; or dataset.data_dir=null",
        ) from None
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"cannot read {path} ({error})", REMEDY) from error
    missing = [column for column in ("date", *VARIABLES) if column not in table]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r} (columns: {', '.join(map(str, table.columns))})", REMEDY
        )
    dates = pd.to_datetime(table["date"], format="%Y-%m-%d", errors="coerce")
    if dates.isna().any():
        bad = table["date"][dates.isna()]
        raise DataError(f"date {bad.iloc[0]!r} at row {bad.index[0]} of {path} is not YYYY-MM-DD", REMEDY)
    if dates.duplicated().any():
        raise DataError(f"{dates[dates.duplicated()].iloc[0]:%Y-%m-%d} appears twice in {path}", REMEDY)
    numbers = table[list(VARIABLES)].apply(pd.to_numeric, errors="coerce").set_axis(dates)
    for variable in VARIABLES[:-1]:
        bad = numbers.index[~np.isfinite(numbers[variable])]
        if len(bad):
            raise DataError(f"{variable} of {bad[0]:%Y-%m-%d} in {path} is not a number", REMEDY)
    if numbers.empty:
        raise DataError(f"{path} has no days", REMEDY)
    return numbers


def _check_days(days: pd.Index) -> None:
    """Raise a `DataError` if a day is missing, or if the test file begins before the training file ends."""
    steps = np.diff(days.to_numpy()) / np.timedelta64(1, "D")
    wrong = np.flatnonzero(steps != 1)
    if wrong.size:
        before, after = (f"{days[wrong[0] + i]:%Y-%m-%d}" for i in (0, 1))
        if steps[wrong[0]] < 0:
            raise DataError(
                f"the test file begins on {after}, before the training file ends on {before}", REMEDY
            )
        raise DataError(f"the days between {before} and {after} are missing: windows need every day", REMEDY)


def _dates(days: pd.Index) -> list[str]:
    return [f"{day:%Y-%m-%d}" for day in days]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
