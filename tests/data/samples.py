"""Generated samples, and parquet files of them in the layout of the Hugging Face hub."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

WORDS = [f"word{number:03d}" for number in range(200)]


def write_rows(folder: Path, split: str, columns: dict[str, Any]) -> None:
    """Write a parquet file named as on the hub; columns without values are omitted."""
    folder.mkdir(parents=True, exist_ok=True)
    filled = {name: values for name, values in columns.items() if values}
    pd.DataFrame(filled).to_parquet(folder / f"{split}-00000-of-00001.parquet")


def colour_images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(n, 32, 32, 3), dtype=np.uint8)


def news(n: int, seed: int) -> list[str]:
    """n documents of 25 words; five words depend on the class (row mod 4)."""
    generator = np.random.default_rng(seed)
    return [
        " ".join([*generator.choice(WORDS, 20), *generator.choice(WORDS[row % 4 :: 20], 5)])
        for row in range(n)
    ]


def png(pixels: np.ndarray) -> dict[str, Any]:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="png")
    return {"bytes": encoded.getvalue(), "path": None}


def write_hub_folders(root: Path) -> dict[str, Path]:
    """Write one folder per data set, each with 80 training and 50 test rows."""
    for split, n, seed in (("train", 80, 0), ("test", 50, 1)):
        images = [png(image) for image in colour_images(n, seed)]
        write_rows(root / "cifar10", split, {"img": images, "label": [row % 10 for row in range(n)]})
        write_rows(root / "ag_news", split, {"text": news(n, seed), "label": [row % 4 for row in range(n)]})
    return {name: root / name for name in ("cifar10", "ag_news")}
