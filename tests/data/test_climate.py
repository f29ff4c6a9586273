import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ntkode.data import DailyClimate, DataError
from ntkode.data.climate import EMBEDDED
from ntkode.data.weather_files import NAMES, read_weather

SHARED = Path(__file__).parents[3] / "shared" / "data" / "daily_climate"
RAW = {"center": False, "norm": None, "targets": "raw", "dtype": "float64"}


def ready(common: dict[str, Any], **keys: Any) -> DailyClimate:
    data = DailyClimate(**(common | keys))
    data.setup()
    return data


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes 100 training and 50 test days of 2013, with an optional change."""

    def call(change: Callable[[dict[str, pd.DataFrame]], None] = lambda tables: None) -> Path:
        generator = np.random.default_rng(0)
        days = pd.date_range("2013-01-01", periods=150)
        table = pd.DataFrame(
            {
                "date": days.strftime("%Y-%m-%d"),
                "meantemp": 20 + generator.standard_normal(150),
                "humidity": 50 + generator.standard_normal(150),
                "wind_speed": 5 + generator.random(150),
                "meanpressure": 1000 + generator.standard_normal(150),
            }
        )
        tables = {"training": table[:100].copy(), "test": table[100:].reset_index(drop=True)}
        change(tables)
        for split, name in NAMES.items():
            tables[split].to_csv(tmp_path / name, index=False)
        return tmp_path

    return call


def test_the_embedded_files_match_the_digests_in_their_readme() -> None:
    readme = (EMBEDDED / "README.md").read_text()
    digests = re.findall(r"[0-9a-f]{64}", readme)
    for name, digest in zip(NAMES.values(), digests, strict=True):
        assert hashlib.sha256((EMBEDDED / name).read_bytes()).hexdigest() == digest
    assert "CC0" in readme


def test_their_defects_are_repaired_and_listed() -> None:
    weather = read_weather(EMBEDDED)
    findings = weather.findings
    assert weather.training_days == 1461
    assert len(weather.values) == 1461 + 114
    assert findings["dropped_from_training"] == ["2017-01-01"]
    assert findings["training_period"] == ["2013-01-01", "2016-12-31"]
    assert findings["test_period"] == ["2017-01-01", "2017-04-24"]
    assert len(findings["replaced_pressures"]["training"]) == 9
    assert findings["replaced_pressures"]["test"] == ["2017-01-01"]
    assert findings["sorted"] == []
    pressures = pd.Series(weather.values[:, 3], pd.date_range("2013-01-01", periods=len(weather.values)))
    assert pressures.between(950, 1050).all()
    around = pressures["2016-11-27":"2016-11-29"].to_numpy()  # 12.0 in the file
    assert around[1] == pytest.approx((around[0] + around[2]) / 2, rel=1e-14)
    assert pressures["2017-01-01"] == pressures["2016-12-31"]


def test_windows_and_targets(common: dict[str, Any], write: Callable[..., Path]) -> None:
    folder = write()
    data = ready(common | {"n_test": 50}, data_dir=folder, window=7, **RAW)
    days = read_weather(folder).values
    assert (data.in_features, data.out_features, data.task) == (28, 1, "regression")
    for split, offset in (("train", 0), ("test", 93)):
        held = getattr(data, split)
        for x, y, row in zip(held.x, held.y, data.description[f"{split}_indices"], strict=True):
            first = offset + row
            expected = (days[first : first + 7] - data._mean) / data._deviation
            np.testing.assert_allclose(x.reshape(7, 4), expected, rtol=1e-14)
            assert float(y) == days[first + 7, 0]
    assert sorted(data.description["test_indices"]) == list(range(50))  # every test day is a target once
    assert set(data.test.y[:, 0].tolist()) == set(days[100:, 0])
    assert not set(data.train.y[:, 0].tolist()) & set(days[100:, 0])


def test_standardised_by_the_drawn_training_windows(
    common: dict[str, Any], write: Callable[..., Path]
) -> None:
    data = ready(common, data_dir=write(), window=5, dtype="float64")
    variables = data.train.x.reshape(-1, 4)
    # Sums of 300 numbers of size 1 in float64.
    torch.testing.assert_close(variables.mean(dim=0), torch.zeros(4).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(variables.std(dim=0, correction=0), torch.ones(4).double(), rtol=1e-12, atol=0)
    assert float(data.train.x.square().mean()) == pytest.approx(1, rel=1e-12)
    variables = data.description["findings"]["variables"]
    assert variables["meantemp"]["mean"] == pytest.approx(20, abs=0.5)


def test_an_error_in_degrees_follows_from_the_loss(
    common: dict[str, Any], write: Callable[..., Path]
) -> None:
    folder = write()
    raw, data = ready(common, data_dir=folder, **RAW), ready(common, data_dir=folder, dtype="float64")
    mean_loss = float(data.test.y.square().sum() / 2 / 40)  # of a forecast of 0, the training mean
    rmse = data.description["target_scale"][0] * np.sqrt(2 * mean_loss)
    expected = (raw.test.y - data.description["target_shift"][0]).square().mean().sqrt()
    assert rmse == pytest.approx(float(expected), rel=1e-12)


def test_no_forecast_sees_later_days(common: dict[str, Any], write: Callable[..., Path]) -> None:
    keys = common | {"n_test": 50} | RAW | {"window": 7}
    before = ready(keys, data_dir=write())
    known = 20  # unchanged test days, the last of them with a sensor error

    def later(tables: dict[str, pd.DataFrame]) -> None:
        tables["test"].loc[known - 1, "meanpressure"] = 59.0
        tables["test"].loc[known:, list(tables["test"].columns[1:])] += 10

    after = ready(keys, data_dir=write(later))
    assert torch.equal(before.train.x, after.train.x)
    assert torch.equal(before.train.y, after.train.y)
    rows = np.array(before.description["test_indices"])
    assert rows.tolist() == after.description["test_indices"]
    # Test row r predicts test day r from the days before it.
    assert torch.equal(before.test.x[rows < known], after.test.x[rows < known])
    moved = np.flatnonzero(rows == known)[0]  # its last pressure is the previous day's, not the next day's
    last = after.test.x[moved].reshape(7, 4)[:, 3]
    assert last[-1] == last[-2]
    assert after.description["findings"]["replaced_pressures"]["test"] == ["2013-04-30"]


def test_training_pressures_do_not_see_the_test_file(write: Callable[..., Path]) -> None:
    def wrong(tables: dict[str, pd.DataFrame]) -> None:
        tables["training"].loc[[0, 50, 51, 99], "meanpressure"] = [np.nan, 0.0, 2000.0, 949.9]
        tables["test"].loc[0, "meanpressure"] = 1050.1

    days = read_weather(write(wrong)).values[:, 3]
    assert days[0] == days[1]
    np.testing.assert_allclose(days[50:52], days[49] + (days[52] - days[49]) * np.array([1, 2]) / 3)
    assert days[99] == days[100] == days[98]


def test_days_out_of_order_are_sorted_and_listed(write: Callable[..., Path]) -> None:
    ordered = read_weather(write()).values

    def shuffle(tables: dict[str, pd.DataFrame]) -> None:
        tables["training"] = tables["training"].sample(frac=1, random_state=0)

    weather = read_weather(write(shuffle))
    np.testing.assert_array_equal(weather.values, ordered)
    assert weather.findings["sorted"] == ["training"]


def without(split: str, row: int) -> Callable[[dict[str, pd.DataFrame]], None]:
    def change(tables: dict[str, pd.DataFrame]) -> None:
        tables[split] = tables[split].drop(index=row)

    return change


def with_value(split: str, row: int, column: str, value: Any) -> Callable[[dict[str, pd.DataFrame]], None]:
    def change(tables: dict[str, pd.DataFrame]) -> None:
        tables[split] = tables[split].astype(object)
        tables[split].loc[row, column] = value

    return change


def without_column(tables: dict[str, pd.DataFrame]) -> None:
    tables["test"] = tables["test"].drop(columns="humidity")


def swapped(tables: dict[str, pd.DataFrame]) -> None:
    tables["training"], tables["test"] = tables["test"], tables["training"]


def without_pressures(tables: dict[str, pd.DataFrame]) -> None:
    tables["training"]["meanpressure"] = 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("training", 40), "the days between 2013-02-09 and 2013-02-11 are missing"),
        (without("test", 0), "the days between 2013-04-10 and 2013-04-12 are missing"),
        (with_value("training", 3, "date", "2013-01-03"), r"2013-01-03 appears twice in .*Train\.csv"),
        (with_value("training", 3, "date", "4 Jan"), r"date '4 Jan' at row 3 of .*Train\.csv is not YYYY"),
        (with_value("test", 2, "meantemp", "warm"), r"meantemp of 2013-04-13 in .*Test\.csv is not a number"),
        (with_value("test", 2, "humidity", np.nan), r"humidity of 2013-04-13 in .*Test\.csv is not a number"),
        (without_column, r"Test\.csv has no column 'humidity'"),
        (swapped, "the test file begins on 2013-01-01, before the training file ends on 2013-05-30"),
        (without_pressures, "has no pressure from 950 to 1050 hPa"),
    ],
)
def test_other_defects_are_refused(write: Callable[..., Path], change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_weather(write(change))
    assert "dataset.data_dir=PATH" in caught.value.remedy


def test_invalid_folder_and_window_are_refused(
    common: dict[str, Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"dataset.data_dir={tmp_path}/none is not a folder"):
        ready(common, data_dir=f"{tmp_path}/none")
    with pytest.raises(DataError, match=r"holds no DailyDelhiClimateTrain\.csv"):
        ready(common, data_dir=tmp_path)
    with pytest.raises(DataError, match=r"dataset\.window=100, but the training file has 100 days"):
        ready(common, data_dir=write(), window=100)
    with pytest.raises(DataError, match=r"n_test=115, but embedded:ntkode has 114 .* dataset.n_test=114"):
        ready(common | {"n_test": 115})


@pytest.mark.skipif(not SHARED.is_dir(), reason="the climate files are not at ../shared/data/daily_climate")
def test_from_the_folder_as_from_the_package(common: dict[str, Any]) -> None:
    keys = common | {"n_train": 1000, "n_test": 114}
    folder, embedded = ready(keys, data_dir=SHARED), ready(keys)
    assert torch.equal(folder.train.x, embedded.train.x)
    assert folder.description["sha256"] == embedded.description["sha256"]
    assert folder.description["source"] == f"directory:{SHARED}"
    assert embedded.description["findings"]["persistence_rmse"] == pytest.approx(1.684, abs=1e-3)
