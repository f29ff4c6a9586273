from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.data.made import colour_images, news, png, write_rows


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the session's own: nothing is left behind, and MNIST is read once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NTKODE_CACHE", str(folder))
        yield folder


@pytest.fixture
def common() -> dict[str, Any]:
    """The keywords that every data set needs, at a small size."""
    return {"n_train": 60, "n_test": 40, "seed": 3, "steps": 5}


@pytest.fixture(scope="session")
def hub_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small folders laid out as uoft-cs/cifar10 and fancyzhx/ag_news on the hub, by the data set's name."""
    root = tmp_path_factory.mktemp("hub")
    for split, n, seed in (("train", 80, 0), ("test", 50, 1)):
        images = [png(image) for image in colour_images(n, seed)]
        write_rows(root / "cifar10", split, {"img": images, "label": [row % 10 for row in range(n)]})
        write_rows(root / "ag_news", split, {"text": news(n, seed), "label": [row % 4 for row in range(n)]})
    return {name: root / name for name in ("cifar10", "ag_news")}


@pytest.fixture
def write_parquet(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder laid out as ylecun/mnist on the hub; keywords replace a column of the training file."""

    def write(**replaced: list[Any]) -> Path:
        generator = np.random.default_rng(0)
        folder = tmp_path / "mnist"
        folder.mkdir()
        for split, n in (("train", 80), ("test", 50)):
            pixels = generator.integers(0, 256, size=(n, 28, 28), dtype=np.uint8)
            columns: dict[str, Any] = {
                "image": [png(image) for image in pixels],
                "label": [row % 10 for row in range(n)],
            }
            if split == "train":
                columns |= replaced
            columns = {name: values for name, values in columns.items() if values}
            pd.DataFrame(columns).to_parquet(folder / f"{split}-00000-of-00001.parquet")
            np.save(tmp_path / f"{split}.npy", pixels)
        return folder

    return write
