"""From raw samples to tensors: the draw, the scaling of the features and the encoding of the targets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ntkode.data.errors import DataError
from ntkode.data.sources import Array, Source, random_generator

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]

NORMS = ("sqrt_d", "unit", None)
TARGETS = {
    "classification": ("one_hot_centered", "one_hot"),
    "regression": ("raw", "centered", "standardized"),
}


def draw(source: Source, n_train: int, n_test: int, *, seed: int, stratify: bool) -> tuple[Rows, Rows]:
    """Rows of the training and the test samples, drawn without replacement.

    Stratified, class counts differ by at most one as long as no class runs out, in each split and in every
    prefix of it: the first rows are a balanced probe. Without a test table of its own, both come from the
    training table and are disjoint; the test rows are then drawn first, so they do not depend on `n_train`,
    and a smaller training set is a prefix of a larger one.

    Args:
        source: what to draw from.
        n_train: number of training rows.
        n_test: number of test rows.
        seed: determines the draw, together with the source and `n_test`.
        stratify: balance the classes (`y` holds labels); else every order is equally likely.

    Raises:
        DataError: more samples asked for than there are.
    """
    _check_enough(source, n_train, n_test)
    generator = random_generator(seed, "draw")

    def ordered(labels: Array) -> Rows:
        return _balanced_order(labels, generator) if stratify else generator.permutation(len(labels))

    test_rows = ordered(source.tables[1].y)[:n_test]
    if source.test is not None:
        return ordered(source.train.y)[:n_train], test_rows
    rest = np.setdiff1d(np.arange(len(source.train)), test_rows)
    return rest[ordered(source.train.y[rest])][:n_train], test_rows


def _balanced_order(labels: Array, generator: np.random.Generator) -> Rows:
    """All rows in random order, one of each class in turn."""
    shuffled = generator.permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.intp)
    for label in np.unique(labels):
        members = labels[shuffled] == label
        turn[members] = np.arange(members.sum())
    return shuffled[np.argsort(turn, kind="stable")]


def _check_enough(source: Source, n_train: int, n_test: int) -> None:
    held = len(source.train)
    more = f"; or {source.larger}" if source.larger else ""
    if source.test is None and n_train + n_test > held:
        fitting = min(n_test, held // 2)
        raise DataError(
            f"n_train={n_train} and n_test={n_test} ask for {n_train + n_test} samples; "
            f"{source.origin} has {held}",
            f"dataset.n_train={held - fitting} dataset.n_test={fitting}{more}",
        )
    if source.test is not None:
        for name, wanted, table in (("n_train", n_train, source.train), ("n_test", n_test, source.test)):
            if wanted > len(table):
                raise DataError(
                    f"{name}={wanted}, but {source.origin} has {len(table)} samples for it",
                    f"dataset.{name}={len(table)}{more}",
                )


@dataclass(frozen=True)
class Preprocessing:
    """How features and targets are made ready.

    Features: x ← x − mean of the training split (`center`), then each row is scaled to norm √d ("sqrt_d",
    so that x·x/d = 1), to norm 1 ("unit"), or left alone (None).
    Class labels: one-hot rows, less 1/k ("one_hot_centered") or as they are ("one_hot"). Real targets: as
    they are ("raw"), less their training mean ("centered"), or that over their training standard deviation
    ("standardized").
    """

    center: bool
    norm: str | None
    targets: str

    def check(self, task: str) -> None:
        """Raise a `DataError` for a key that is unknown, or is of the other task."""
        if self.norm not in NORMS:
            raise DataError(f"dataset.norm={self.norm} is unknown", "dataset.norm=sqrt_d, unit or null")
        if self.targets not in TARGETS[task]:
            raise DataError(
                f"dataset.targets={self.targets} does not exist for {task}",
                f"dataset.targets={' or '.join(TARGETS[task])}",
            )

    def features(self, train: Floats, test: Floats, rows: tuple[Rows, Rows]) -> tuple[Floats, Floats]:
        """Both splits (N, d), ready; `rows` are their rows in the source, for the error that names one.

        Raises:
            DataError: a row that is zero, to rounding, where it is to be scaled.
        """
        size = np.linalg.norm(train, axis=1).max()
        if self.center:
            mean = train.mean(axis=0)
            train, test = train - mean, test - mean
        if self.norm is None:
            return train, test
        length = 1.0 if self.norm == "unit" else float(np.sqrt(train.shape[1]))
        return (
            length * _unit_rows(train, size, "training", rows[0]),
            length * _unit_rows(test, size, "test", rows[1]),
        )

    def encode(self, train: Array, test: Array, classes: int | None) -> tuple[Floats, Floats]:
        """Targets (N, k) of both splits, from labels (N,) of `classes` classes or real targets (N, k)."""
        if classes is not None:
            centre = 1.0 / classes if self.targets == "one_hot_centered" else 0.0
            one_hot = np.eye(classes) - centre
            return one_hot[train], one_hot[test]
        shift, scale = self.units(train)
        return (train - shift) / scale, (test - shift) / scale

    def units(self, train: Array) -> tuple[Floats, Floats]:
        """Shift and scale, each (k,), of real training targets (N, k): raw y = shift + scale·y.

        Raises:
            DataError: a target that does not vary, where it is to be divided by its standard deviation.
        """
        one = np.ones(train.shape[1])
        if self.targets == "raw":
            return 0 * one, one
        mean = train.mean(axis=0)
        if self.targets == "centered":
            return mean, one
        deviation = train.std(axis=0)
        if not (deviation > 0).all():
            raise DataError(
                f"all training targets are {mean[deviation.argmin()]} and have no standard deviation",
                "dataset.targets=centered; or a larger dataset.n_train",
            )
        return mean, deviation


def _unit_rows(x: Floats, size: float, split: str, rows: Rows) -> Floats:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    # A row that equals the mean leaves rounding of the size of the raw rows, about 1e-16 of it.
    zero = np.flatnonzero(norms[:, 0] <= 1e-12 * size)
    if zero.size:
        first = zero[0]
        raise DataError(
            f"{split} sample {first} (row {rows[first]} of the source) is zero and has no norm to scale",
            "dataset.norm=null; or dataset.center=false; or a larger dataset.n_train",
        )
    return x / norms
