from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.data.samples import png, write_hub_folders


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A temporary cache for the whole session, so that MNIST is read once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NTKODE_CACHE", str(folder))
        yield folder


@pytest.fixture
def common() -> dict[str, Any]:
    """Arguments that every data set requires, for small splits."""
    return {"n_train": 60, "n_test": 40, "seed": 3, "steps": 5}


@pytest.fixture(scope="session")
def hub_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small folders in the layout of uoft-cs/cifar10 and fancyzhx/ag_news, by name of the data set."""
    return write_hub_folders(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def write_parquet(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a folder in the layout of ylecun/mnist; keywords replace training columns."""

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
