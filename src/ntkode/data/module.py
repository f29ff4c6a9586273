"""Base class of the data sets: a Lightning data module that reads, draws, prepares and describes samples."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ntkode.checks import whole_number
from ntkode.data.batches import Batch, BatchSchedule, loader
from ntkode.data.coincidences import coincidences
from ntkode.data.errors import DataError, check_finite
from ntkode.data.preprocessing import Floats, Preprocessing, Rows, draw
from ntkode.data.sources import Array, Source

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Split:
    """Samples ready for use.

    Attributes:
        x: features, (N, d), in the module's dtype.
        y: targets, (N, k), in the same dtype.
        labels: class labels, (N,), int64; None for regression.
    """

    x: Tensor
    y: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.x)


class DataModule(lightning.LightningDataModule, ABC):
    """A data set: two splits, a loader of exactly `steps` batches, and a description of its source.

    A subclass defines `name`, `licence`, `citation`, `classes` and `read`, and overrides `fit`, `prepare` and
    `findings` if raw samples need a transformation to features. `setup` makes `train`, `test`,
    `in_features`, `out_features` and `description` available. The log and the description report duplicate
    and antipodal training rows.

    Args:
        n_train: number of training samples.
        n_test: number of test samples.
        seed: determines draw, generated samples and mini-batches; global random states stay unchanged.
        steps: number of batches in the single training epoch.
        batch_size: samples per batch; None: full-batch descent.
        dtype: "float32", "float64" or a torch dtype, of features and targets; preparation is in float64.
        center: subtract the training mean of the features.
        norm: norm of each input afterwards: "sqrt_d", "unit" or None (as `Preprocessing`).
        targets: "one_hot_centered" or "one_hot" for classes; "raw", "centered" or "standardized" for
            regression.

    Raises:
        SettingError: an argument is out of its range (`DataError` for most; both are ValueErrors).
    """

    name: str
    licence: str
    citation: str
    classes: int | None = None
    image_shape: tuple[int, int, int] | None = None  # (channels, height, width) if x holds images

    def __init__(
        self,
        *,
        n_train: int,
        n_test: int,
        seed: int,
        steps: int,
        batch_size: int | None = None,
        dtype: str | torch.dtype = torch.float32,
        center: bool = True,
        norm: str | None = "sqrt_d",
        targets: str = "one_hot_centered",
    ) -> None:
        super().__init__()
        self.n_train = whole_number("dataset.n_train", n_train, least=1)
        self.n_test = whole_number("dataset.n_test", n_test, least=1)
        self.seed = whole_number("dataset.seed", seed, least=0)
        self.steps = whole_number("steps", steps, least=1)
        self.batch_size = None if batch_size is None else _batch_size(batch_size, n_train)
        self.dtype = _dtype(dtype)
        self.preprocessing = Preprocessing(center=center, norm=norm, targets=targets)
        self.preprocessing.check(self.task)
        self._ready: tuple[Split, Split, dict[str, Any]] | None = None

    @abstractmethod
    def read(self) -> Source:
        """All raw samples and their origin; raises `DataError`."""

    def fit(self, train: Array) -> None:
        """Fit what `prepare` needs to the drawn raw training samples, never to the test split."""

    def prepare(self, x: Array) -> Floats:
        """Raw features (N, …) as real features (N, d), before centring and scaling."""
        return x.astype(np.float64)

    def options(self) -> dict[str, Any]:
        """The keys that only this data set has, for the description."""
        return {}

    def findings(self, train: Floats, test: Floats) -> dict[str, Any]:
        """Facts that reading and preparing establish, for the description; arguments: the prepared splits."""
        return {}

    def setup(self, stage: str | None = None) -> None:
        """Read, check, draw and prepare the samples; a second call does nothing. Raises `DataError`."""
        if self._ready is not None:
            return
        source = self.read()
        self._check(source)
        stratify = self.classes is not None
        rows = draw(source, self.n_train, self.n_test, seed=self.seed, stratify=stratify)
        (train_x, train_y), (test_x, test_y) = (
            (table.x[drawn], table.y[drawn]) for table, drawn in zip(source.tables, rows, strict=True)
        )
        self.fit(train_x)
        features = self.prepare(train_x), self.prepare(test_x)
        x = self.preprocessing.features(*features, rows)
        y = self.preprocessing.encode(train_y, test_y, self.classes)
        train = self._split(x[0], y[0], train_y)
        test = self._split(x[1], y[1], test_y)
        pairs = coincidences(train.x.double().numpy())
        pairs.warn(self.name)
        description = self._describe(source, rows, train) | self._target_units(train_y) | pairs.describe()
        self._ready = (train, test, description | {"findings": self.findings(*features)})

    @property
    def train(self) -> Split:
        """The prepared training samples, `n_train` of them."""
        return self._after_setup()[0]

    @property
    def test(self) -> Split:
        """The prepared test samples, `n_test` of them."""
        return self._after_setup()[1]

    @property
    def description(self) -> dict[str, Any]:
        """Description of the data for the run's record; plain values for JSON.

        `sha256`: digest of all raw arrays of the source (`Source.sha256`). `train_indices`, `test_indices`:
        rows of its training and test tables, which are the same table if `shared_table` is true.
        `target_shift`, `target_scale` (regression): raw y = shift + scale·y, so the root mean squared error
        in raw units is scale·√(2·`loss/test`/k). `duplicates`, `antipodal_pairs`: pairs of training rows
        (`Coincidences`). `findings`: facts specific to the data set.
        """
        return self._after_setup()[2]

    @property
    def in_features(self) -> int:
        """Number of features per sample, d."""
        return self.train.x.shape[1]

    @property
    def out_features(self) -> int:
        """Number of targets per sample, k."""
        return self.train.y.shape[1]

    @property
    def task(self) -> str:
        """The kind of targets: "classification" or "regression"."""
        return "regression" if self.classes is None else "classification"

    def train_dataloader(self) -> DataLoader[Batch]:
        """One epoch of exactly `steps` batches (indices, x, y); a resumed trainer continues at its step."""
        trainer = self.trainer
        start, rank, ranks = (
            (0, 0, 1) if trainer is None else (trainer.global_step, trainer.global_rank, trainer.world_size)
        )
        schedule = BatchSchedule(
            self.n_train,
            steps=self.steps,
            batch_size=self.batch_size,
            seed=self.seed,
            start=start,
            rank=rank,
            ranks=ranks,
        )
        return loader(self.train.x, self.train.y, schedule)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The whole test split in order, as one batch."""
        return loader(self.test.x, self.test.y, BatchSchedule(self.n_test, steps=1))

    def _after_setup(self) -> tuple[Split, Split, dict[str, Any]]:
        if self._ready is None:
            raise RuntimeError(f"the data of {type(self).__name__} have not been read: call setup() first")
        return self._ready

    def _split(self, x: Floats, y: Floats, raw_y: Array) -> Split:
        labels = None if self.classes is None else torch.from_numpy(raw_y.astype(np.int64))
        return Split(torch.from_numpy(x).to(self.dtype), torch.from_numpy(y).to(self.dtype), labels)

    def _check(self, source: Source) -> None:
        for table in source.tables:
            if table.x.dtype.kind != "S":  # texts are always finite
                check_finite(table.x, f"feature of {source.origin}")
            check_finite(table.y, f"target of {source.origin}")
            if self.classes is not None and not set(np.unique(table.y)) <= set(range(self.classes)):
                raise DataError(
                    f"labels of {source.origin} run from {table.y.min()} to {table.y.max()}, where 0 to "
                    f"{self.classes - 1} are expected",
                    "correct the data, or choose another source",
                )

    def _target_units(self, raw_y: Array) -> dict[str, Any]:
        if self.classes is not None:
            return {}
        shift, scale = self.preprocessing.units(raw_y)
        return {"target_shift": shift.tolist(), "target_scale": scale.tolist()}

    def _describe(self, source: Source, rows: tuple[Rows, Rows], train: Split) -> dict[str, Any]:
        return {
            "name": self.name,
            "source": source.origin,
            "sha256": source.sha256(),
            "task": self.task,
            "classes": self.classes,
            "n_train": self.n_train,
            "n_test": self.n_test,
            "in_features": train.x.shape[1],
            "out_features": train.y.shape[1],
            "seed": self.seed,
            "train_indices": rows[0].tolist(),
            "test_indices": rows[1].tolist(),
            "shared_table": source.test is None,
            "preprocessing": asdict(self.preprocessing),
            "options": self.options(),
            "licence": self.licence,
            "citation": self.citation,
        }


def _batch_size(value: int, n_train: int) -> int:
    return whole_number("optimizer.batch_size", value, least=1, most=n_train)


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    resolved = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if resolved is None or resolved not in DTYPES.values():
        raise DataError(f"dtype={dtype} is not a supported precision", f"dtype={' or '.join(DTYPES)}")
    return resolved
