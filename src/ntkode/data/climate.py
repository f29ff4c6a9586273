"""Forecasts: windows of past days that predict the next day's mean temperature."""

from pathlib import Path
from typing import Any

import numpy as np

from ntkode.checks import whole_number
from ntkode.data.errors import DataError
from ntkode.data.module import DataModule
from ntkode.data.preprocessing import Floats
from ntkode.data.sources import Array, Source, Table
from ntkode.data.weather_files import MEND, NAMES, VARIABLES, read_weather

EMBEDDED = Path(__file__).parent / "daily_climate"


class DailyClimate(DataModule):
    """Daily climate of Delhi, 2013–2017: d = 4·window features, the next day's temperature as target.

    A window holds temperature, humidity, wind and pressure of so many days; the target is the mean
    temperature of the day after. Every day of the test file is a target once; its window may reach back into
    the training file, whose days lie before it, and never forward. Training windows and targets are of the
    training file alone. `read_weather` says how the files' defects are mended; the description's `findings`
    name every day concerned.

    Each variable is less its mean, over its standard deviation, both over the drawn training windows.
    Features then have x·x/d = 1 on average. Scaling each row to one norm would make a cool month and a cold
    one the same, so rows are left as they are. Targets are standardised likewise: `target_scale` of the
    description leads back to °C.

    Args:
        window: days that a forecast sees.
        data_dir: a folder with both CSV files; None: those that the package brings, as published.
        center: see `DataModule`; standardised features need it not.
        norm: see `DataModule`.
        targets: see `DataModule`.
        **common: what every data set takes (`DataModule`).
    """

    name = "daily_climate"
    licence = "CC0 1.0 (as stated at its source)"
    citation = (
        "S. V. Rao. Daily climate time series data. Kaggle, sumanthvrao/daily-climate-time-series-data, "
        "from the Weather Underground API"
    )

    def __init__(
        self,
        *,
        window: int = 30,
        data_dir: str | Path | None = None,
        center: bool = False,
        norm: str | None = None,
        targets: str = "standardized",
        **common: Any,
    ) -> None:
        super().__init__(center=center, norm=norm, targets=targets, **common)
        self.window = whole_number("dataset.window", window, least=1)
        self.data_dir = data_dir

    def read(self) -> Source:
        """All windows (N, window, 4), oldest day first, and the temperature of the day after each, (N, 1)."""
        folder = EMBEDDED if self.data_dir is None else Path(self.data_dir).expanduser()
        if not folder.is_dir():
            raise DataError(
                f"dataset.data_dir={self.data_dir} is not a folder",
                f"dataset.data_dir=PATH of one with {' and '.join(NAMES.values())}; or dataset.data_dir=null",
            )
        weather = read_weather(folder)
        if self.window >= weather.training_days:
            raise DataError(
                f"dataset.window={self.window}, but the training file has {weather.training_days} days",
                "dataset.window=30",
            )
        # What a forecast must beat: as warm as the day before, over all test days, in °C.
        changes = np.diff(weather.values[weather.training_days - 1 :, 0])
        self._findings = weather.findings | {"persistence_rmse": float(np.sqrt((changes**2).mean()))}
        # Window i is days i to i + window − 1; there is none without a day after it.
        windows = np.lib.stride_tricks.sliding_window_view(weather.values[:-1], self.window, axis=0)
        windows = np.ascontiguousarray(windows.swapaxes(1, 2))
        next_day = weather.values[self.window :, :1]
        cut = weather.training_days - self.window
        origin = "embedded:ntkode" if self.data_dir is None else f"directory:{self.data_dir}"
        return Source(origin, Table(windows[:cut], next_day[:cut]), Table(windows[cut:], next_day[cut:]))

    def fit(self, train: Array) -> None:
        """Mean and standard deviation of each variable over the drawn training windows."""
        self._mean, self._deviation = train.mean(axis=(0, 1)), train.std(axis=(0, 1))
        constant = np.flatnonzero(self._deviation == 0)
        if constant.size:
            raise DataError(f"{VARIABLES[constant[0]]} does not vary in the training windows", MEND)

    def prepare(self, x: Array) -> Floats:
        """Windows (N, window, 4) as standardised rows (N, 4·window), day by day."""
        return ((x - self._mean) / self._deviation).reshape(len(x), -1)

    def options(self) -> dict[str, Any]:
        """`window`, for the description."""
        return {"window": self.window}

    def findings(self, train: Floats, test: Floats) -> dict[str, Any]:
        """What was mended in the files, the error of no forecast at all, and the scale of each variable."""
        scales = {
            name: {"mean": float(mean), "standard_deviation": float(deviation)}
            for name, mean, deviation in zip(VARIABLES, self._mean, self._deviation, strict=True)
        }
        return self._findings | {"variables": scales}
