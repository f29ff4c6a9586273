"""Weather forecasts: windows of past days predict the next day's mean temperature."""

from pathlib import Path
from typing import Any

import numpy as np

from ntkode.checks import whole_number
from ntkode.data.errors import DataError
from ntkode.data.module import DataModule
from ntkode.data.preprocessing import Floats
from ntkode.data.sources import Array, Source, Table
from ntkode.data.weather_files import NAMES, REMEDY, VARIABLES, read_weather

EMBEDDED = Path(__file__).parent / "daily_climate"


class DailyClimate(DataModule):
    """Daily climate of Delhi, 2013–2017: d = 4·window features, the next day's temperature as target.

    A window holds temperature, humidity, wind and pressure of `window` consecutive days; the target is the
    mean temperature of the day after it. Every day of the test file is a target once; its window may include
    earlier days of the training file. Training windows and targets use the training file alone.
    `read_weather` documents the repair of defects in the files; the description's `findings` list every day
    concerned.

    Each variable is standardised by its mean and standard deviation over the drawn training windows, so
    x·x/d = 1 on average. Rows are not scaled to one norm: that would make a cool month equal to a cold one.
    Targets are standardised too; `target_scale` of the description converts errors to °C.

    Args:
        window: number of days in a window.
        data_dir: a folder with both CSV files; None: the files shipped with the package, as published.
        center: see `DataModule`; standardised features do not need it.
        norm: see `DataModule`.
        targets: see `DataModule`.
        **common: arguments of every data set (`DataModule`).
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
                f"dataset.data_dir=PATH with {' and '.join(NAMES.values())}; or dataset.data_dir=null",
            )
        weather = read_weather(folder)
        if self.window >= weather.training_days:
            raise DataError(
                f"dataset.window={self.window}, but the training file has {weather.training_days} days",
                "dataset.window=30",
            )
        # Baseline over all test days, in °C: the same temperature as the day before.
        changes = np.diff(weather.values[weather.training_days - 1 :, 0])
        self._findings = weather.findings | {"persistence_rmse": float(np.sqrt((changes**2).mean()))}
        # Window i holds the days i to i + window − 1; each needs a day after it.
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
            raise DataError(f"{VARIABLES[constant[0]]} does not vary in the training windows", REMEDY)

    def prepare(self, x: Array) -> Floats:
        """Windows (N, window, 4) as standardised rows (N, 4·window), day by day."""
        return ((x - self._mean) / self._deviation).reshape(len(x), -1)

    def options(self) -> dict[str, Any]:
        """The key `window`, for the description."""
        return {"window": self.window}

    def findings(self, train: Floats, test: Floats) -> dict[str, Any]:
        """Repairs of the files, error of the baseline, mean and standard deviation of each variable."""
        scales = {
            name: {"mean": float(mean), "standard_deviation": float(deviation)}
            for name, mean, deviation in zip(VARIABLES, self._mean, self._deviation, strict=True)
        }
        return self._findings | {"variables": scales}
