"""The contract of every data set: a Lightning data module that reads, draws, prepares and describes."""

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
    """A data set: two splits, a loader of exactly `steps` batches, and a record of where it comes from.

    A subclass gives `name`, `licence`, `citation`, `classes` and `read`; `fit`, `prepare` and `findings`
    where raw samples are no features yet. After `setup` there are `train`, `test`, `in_features`,
    `out_features` and `description`. Duplicate and antipodal training rows are told in the log and in the
    description.

    Args:
        n_train: number of training samples.
        n_test: number of test samples.
        seed: determines draw, generated samples and mini-batches; global random states are never touched.
        steps: batches of the one training epoch.
        batch_size: samples a batch; None for full-batch descent.
        dtype: "float32", "float64" or the torch dtype of features and targets; all preparation is in float64.
        center: subtract the training mean of the features.
        norm: norm of each input afterwards: "sqrt_d", "unit" or None (as `Preprocessing`).
        targets: "one_hot_centered" or "one_hot" for classes; "raw", "centered" or "standardized" for
            regression.

    Raises:
        DataError: an argument out of its range.
    """

    name: str
    licence: str
    citation: str
    classes: int | None = None
    image_shape: tuple[int, int, int] | None = None  # (channels, height, width), where x holds images

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
        self.seed = whole_number("seed", seed, least=0)
        self.steps = whole_number("steps", steps, least=1)
        self.batch_size = None if batch_size is None else _batch_size(batch_size, n_train)
        self.dtype = _dtype(dtype)
        self.preprocessing = Preprocessing(center=center, norm=norm, targets=targets)
        self.preprocessing.check(self.task)
        self._ready: tuple[Split, Split, dict[str, Any]] | None = None

    @abstractmethod
    def read(self) -> Source:
        """All raw samples and where they come from; raises `DataError`."""

    def fit(self, train: Array) -> None:
        """Learn from the drawn training samples, raw, what `prepare` needs: the test split is never seen."""

    def prepare(self, x: Array) -> Floats:
        """Raw features (N, …) as real ones (N, d), before centring and scaling."""
        return x.astype(np.float64)

    def options(self) -> dict[str, Any]:
        """The data set's own keys, for the description."""
        return {}

    def findings(self, train: Floats, test: Floats) -> dict[str, Any]:
        """What reading and preparing brought to light, for the description; of both splits as prepared."""
        return {}

    def setup(self, stage: str | None = None) -> None:
        """Read, check, draw and prepare; a second call does nothing. Raises `DataError`."""
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
        """The training samples."""
        return self._after_setup()[0]

    @property
    def test(self) -> Split:
        """The test samples."""
        return self._after_setup()[1]

    @property
    def description(self) -> dict[str, Any]:
        """What the run's record keeps of its data; plain values, fit for JSON.

        `sha256` is over all raw arrays of the source (`Source.sha256`); `train_indices` and `test_indices`
        are rows of its training and test tables, which are one and the same where `shared_table` is true.
        `target_shift` and `target_scale` (regression) lead back to the target's own units:
        raw y = shift + scale·y, so its root mean squared error is scale·√(2·`loss/test`/k).
        `duplicates` and `antipodal_pairs` count pairs of training rows (`Coincidences`), `findings` are the
        data set's own.
        """
        return self._after_setup()[2]

    @property
    def in_features(self) -> int:
        """Number of features, d."""
        return self.train.x.shape[1]

    @property
    def out_features(self) -> int:
        """Number of targets, k."""
        return self.train.y.shape[1]

    @property
    def task(self) -> str:
        """Either "classification" or "regression"."""
        return "regression" if self.classes is None else "classification"

    def train_dataloader(self) -> DataLoader[Batch]:
        """One epoch of exactly `steps` batches (indices, x, y); a resumed trainer goes on at its step."""
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
            raise RuntimeError(f"the data of {type(self).__name__} are not read yet: call setup() first")
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
                    "mend the data, or choose another source",
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
        raise DataError(f"dtype={dtype} is not a precision to train in", f"dtype={' or '.join(DTYPES)}")
    return resolved
