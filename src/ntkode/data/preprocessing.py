"""Drawing of samples, scaling of features and encoding of targets."""

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
    """Rows of the training and the test samples, drawn without replacement: (n_train,) and (n_test,).

    With `stratify`, class counts differ by at most one in each split and in every prefix of it, until a class
    is exhausted: the first rows are a balanced probe. Without a separate test table, both splits come from
    the training table and are disjoint. The test rows are then drawn first, so they do not depend on
    `n_train`, and a smaller training set is a prefix of a larger one.

    Args:
        source: the tables to draw from.
        n_train: number of training rows.
        n_test: number of test rows.
        seed: determines the draw, together with the source and `n_test`.
        stratify: balance the classes (`y` holds labels); otherwise every order is equally likely.

    Raises:
        DataError: the source has fewer samples than requested.
    """
    _check_enough(source, n_train, n_test)
    generator = random_generator(seed, "draw")

    def random_order(labels: Array) -> Rows:
        return _balanced_order(labels, generator) if stratify else generator.permutation(len(labels))

    test_rows = random_order(source.tables[1].y)[:n_test]
    if source.test is not None:
        return random_order(source.train.y)[:n_train], test_rows
    rest = np.setdiff1d(np.arange(len(source.train)), test_rows)
    return rest[random_order(source.train.y[rest])][:n_train], test_rows


def _balanced_order(labels: Array, generator: np.random.Generator) -> Rows:
    """All rows in random order, with the classes alternating."""
    shuffled = generator.permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.intp)
    for label in np.unique(labels):
        members = labels[shuffled] == label
        turn[members] = np.arange(members.sum())
    return shuffled[np.argsort(turn, kind="stable")]


def _check_enough(source: Source, n_train: int, n_test: int) -> None:
    available = len(source.train)
    more = f"; or {source.larger}" if source.larger else ""
    if source.test is None and n_train + n_test > available:
        fitting = min(n_test, available // 2)
        raise DataError(
            f"n_train={n_train} and n_test={n_test} need {n_train + n_test} samples; "
            f"{source.origin} has {available}",
            f"dataset.n_train={available - fitting} dataset.n_test={fitting}{more}",
        )
    if source.test is not None:
        for name, wanted, table in (("n_train", n_train, source.train), ("n_test", n_test, source.test)):
            if wanted > len(table):
                raise DataError(
                    f"{name}={wanted}, but {source.origin} has {len(table)} samples for this split",
                    f"dataset.{name}={len(table)}{more}",
                )


@dataclass(frozen=True)
class Preprocessing:
    """Transformation of features and targets.

    - Features: x ← x − mean of the training split (`center`); then each row is scaled to norm √d ("sqrt_d",
      so x·x/d = 1) or 1 ("unit"), or not scaled (None).
    - Class labels: one-hot rows minus 1/k ("one_hot_centered"), or one-hot rows ("one_hot").
    - Real targets y, with training mean m and standard deviation s: y ("raw"), y − m ("centered") or
      (y − m)/s ("standardized").
    """

    center: bool
    norm: str | None
    targets: str

    def check(self, task: str) -> None:
        """Raise a `DataError` for a key that is unknown or belongs to the other task."""
        if self.norm not in NORMS:
            raise DataError(f"dataset.norm={self.norm} is unknown", "dataset.norm=sqrt_d, unit or null")
        if self.targets not in TARGETS[task]:
            raise DataError(
                f"dataset.targets={self.targets} does not exist for {task}",
                f"dataset.targets={' or '.join(TARGETS[task])}",
            )

    def features(self, train: Floats, test: Floats, rows: tuple[Rows, Rows]) -> tuple[Floats, Floats]:
        """Both splits (N, d), transformed; `rows` are their rows in the source, for error messages.

        Raises:
            DataError: a row to be scaled is zero up to rounding.
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
            DataError: a target to be standardised does not vary.
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
                f"all training targets are {mean[deviation.argmin()]} and cannot be standardised",
                "dataset.targets=centered; or a larger dataset.n_train",
            )
        return mean, deviation


def _unit_rows(x: Floats, size: float, split: str, rows: Rows) -> Floats:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    # A row equal to the mean leaves a rounding error of about 1e-16 of the raw rows.
    zero = np.flatnonzero(norms[:, 0] <= 1e-12 * size)
    if zero.size:
        first = zero[0]
        raise DataError(
            f"{split} sample {first} (row {rows[first]} of the source) is zero and cannot be scaled",
            "dataset.norm=null; or dataset.center=false; or a larger dataset.n_train",
        )
    return x / norms
