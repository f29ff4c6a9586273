"""Made-up samples, and parquet files of them laid out as on the Hugging Face hub."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

WORDS = [f"word{number:03d}" for number in range(200)]


def write_rows(folder: Path, split: str, columns: dict[str, Any]) -> None:
    """A parquet file named as on the hub; a column without values is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    held = {name: values for name, values in columns.items() if values}
    pd.DataFrame(held).to_parquet(folder / f"{split}-00000-of-00001.parquet")


def colour_images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(n, 32, 32, 3), dtype=np.uint8)


def news(n: int, seed: int) -> list[str]:
    """Documents of 20 words, some of which tell the class (row mod 4)."""
    generator = np.random.default_rng(seed)
    return [
        " ".join([*generator.choice(WORDS, 20), *generator.choice(WORDS[row % 4 :: 20], 5)])
        for row in range(n)
    ]


def png(pixels: np.ndarray) -> dict[str, Any]:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="png")
    return {"bytes": encoded.getvalue(), "path": None}
