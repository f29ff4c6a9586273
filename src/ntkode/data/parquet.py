"""Labelled images and texts from parquet files in the layout of the Hugging Face hub."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ntkode.data.errors import DataError
from ntkode.data.sources import Array, Table

# Pillow's modes of 8-bit images, by number of channels.
MODES = {1: ("L", "8-bit grey"), 3: ("RGB", "8-bit colours")}


def read_parquet_images(files: Sequence[Path], shape: tuple[int, int, int], *, image: str = "image") -> Table:
    """Images and labels from parquet files in the layout of the Hugging Face hub.

    Args:
        files: parquet files with an encoded image and an integer `label` in each row.
        shape: the (channels, height, width) that every image must have, channels 1 (grey) or 3 (RGB).
        image: name of the image column.

    Returns:
        Pixels (N, channels·height·width) as uint8, channel by channel, and labels (N,) as int64.

    Raises:
        DataError: a file is unreadable, a column is missing, or an image or label is invalid.
    """
    pixels, labels = _read(files, image, lambda encoded: _decode(encoded, shape))
    return Table(np.array(pixels, dtype=np.uint8).reshape(-1, int(np.prod(shape))), labels)


def read_parquet_texts(files: Sequence[Path], *, text: str = "text") -> Table:
    """Texts and labels from parquet files in the layout of the Hugging Face hub.

    Args:
        files: parquet files with a string and an integer `label` in each row.
        text: name of the text column.

    Returns:
        Texts (N,) in UTF-8, as NumPy bytes of fixed length ("S"), and labels (N,) as int64.

    Raises:
        DataError: a file is unreadable, a column is missing, or a text or label is invalid.
    """
    texts, labels = _read(files, text, _encode)
    return Table(np.array(texts, dtype=np.bytes_), labels)


def _read(
    files: Sequence[Path], feature: str, convert: Callable[[Any], Any], label: str = "label"
) -> tuple[list[Any], Array]:
    """The values of the column `feature`, converted by `convert`, and the labels (N,)."""
    import datasets

    where = ", ".join(str(path) for path in files)
    remedy = "correct the file, or name another folder with dataset.data_dir=PATH"
    try:
        # Streaming avoids a second copy in the Hugging Face cache and a progress bar.
        names = [str(path) for path in files]
        rows = datasets.load_dataset("parquet", data_files={"all": names}, split="all", streaming=True)
        columns = list(rows.column_names or next(iter(rows)))
    except Exception as error:
        raise DataError(f"cannot read {where} as parquet ({error})", remedy) from error
    for column in (feature, label):
        if column not in columns:
            raise DataError(f"{where} has no column {column!r} (columns: {', '.join(columns)})", remedy)
    values: list[Any] = []
    labels: list[int] = []
    try:
        for row in rows.decode(False):
            values.append(convert(row[feature]))
            if not isinstance(row[label], int):
                raise ValueError(f"label {row[label]} is not a whole number")
            labels.append(row[label])
    except Exception as error:  # corrupt files and images raise many types
        raise DataError(f"row {len(labels)} of {where}: {error}", remedy) from error
    return values, np.array(labels, dtype=np.int64)


def _decode(encoded: Any, shape: tuple[int, int, int]) -> Array:
    if encoded is None:
        raise ValueError("the image is missing")
    if not isinstance(encoded, dict) or not isinstance(encoded.get("bytes"), bytes):
        raise ValueError(f"{encoded!r:.40} is not an encoded image")
    picture = Image.open(io.BytesIO(encoded["bytes"]))
    mode, meaning = MODES[shape[0]]
    if picture.mode != mode or picture.size != shape[:0:-1]:
        width, height = picture.size
        raise ValueError(
            f"image of {height}×{width} pixels, mode {picture.mode}; expected: {shape[1]}×{shape[2]}, "
            f"mode {mode} ({meaning})"
        )
    return np.moveaxis(np.asarray(picture).reshape(*shape[1:], shape[0]), -1, 0)


def _encode(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError(f"{text!r:.40} is not a text")
    return text.encode()
