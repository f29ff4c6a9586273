"""Image tables from parquet files as the Hugging Face hub lays them out: in a folder, or from the hub."""

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from ntkode.data.checks import DataError
from ntkode.data.sources import Array, Table

log = logging.getLogger(__name__)

HUB_SECONDS = 3.0  # how long the hub may take to answer at all


def parquet_files(directory: str | Path, split: str) -> list[Path]:
    """The files `<split>*.parquet` of a folder laid out as on the hub, in order.

    Raises:
        DataError: the folder, or such a file in it, is missing.
    """
    folder = Path(directory).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"dataset.data_dir={directory} is not a folder", "dataset.data_dir=PATH of an existing one"
        )
    files = sorted(folder.glob(f"{split}*.parquet"))
    if not files:
        held = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise DataError(
            f"dataset.data_dir={directory} holds no {split}*.parquet (it holds {held})",
            "dataset.data_dir=PATH of a folder with train*.parquet and test*.parquet, as on the hub",
        )
    return files


def read_parquet_images(
    files: Sequence[Path], shape: tuple[int, int], *, image: str = "image", label: str = "label"
) -> Table:
    """Greyscale images and labels from parquet files laid out as on the Hugging Face hub.

    Args:
        files: parquet files with an encoded image and an integer label in each row.
        shape: the (height, width) that every image must have.
        image: name of the image column.
        label: name of the label column.

    Returns:
        Pixels (N, height·width) as uint8 and labels (N,) as int64.

    Raises:
        DataError: unreadable file, missing column, or an image or label that is not as described.
    """
    import datasets

    where = ", ".join(str(path) for path in files)
    mend = "mend the file, or name another folder with dataset.data_dir=PATH"
    try:
        # Streamed: no second copy in the Hugging Face cache, and no progress bar between ours.
        names = [str(path) for path in files]
        rows = datasets.load_dataset("parquet", data_files={"all": names}, split="all", streaming=True)
        columns = list(rows.column_names or next(iter(rows)))
    except Exception as error:
        raise DataError(f"cannot read {where} as parquet ({error})", mend) from error
    for column in (image, label):
        if column not in columns:
            raise DataError(f"{where} has no column {column!r} (columns: {', '.join(columns)})", mend)
    pixels: list[Array] = []
    labels: list[int] = []
    try:
        for row in rows.cast_column(image, datasets.Image(decode=False)):
            pixels.append(_decode(row[image], shape))
            if not isinstance(row[label], int):
                raise ValueError(f"label {row[label]} is not a whole number")
            labels.append(row[label])
    except Exception as error:  # damaged files and images raise almost anything
        raise DataError(f"row {len(labels)} of {where}: {error}", mend) from error
    return Table(
        np.array(pixels, dtype=np.uint8).reshape(-1, shape[0] * shape[1]), np.array(labels, dtype=np.int64)
    )


def _decode(encoded: dict[str, Any] | None, shape: tuple[int, int]) -> Array:
    import datasets

    if encoded is None:
        raise ValueError("the image is missing")
    picture = datasets.Image().decode_example(encoded)
    if picture.mode != "L" or picture.size != shape[::-1]:
        width, height = picture.size
        raise ValueError(
            f"image of {height}×{width} pixels, mode {picture.mode}, where {shape[0]}×{shape[1]}, mode L "
            "(8-bit grey), is expected"
        )
    return np.asarray(picture)


def hub_files(repository: str, files: Sequence[str], revision: str) -> list[Path]:
    """Files of a data set on the Hugging Face hub, downloaded once into the Hugging Face cache.

    Out of reach of the hub (or with HF_HUB_OFFLINE=1) the cache alone is used. HF_ENDPOINT, HF_HOME and
    proxies are respected. The folder below `snapshots/` on a path is the commit.

    Raises:
        DataError: no answer within `HUB_SECONDS` and not in the cache, or refused by the hub.
    """
    import huggingface_hub
    from huggingface_hub import constants

    # Asked first because the hub's client would retry an unreachable host for 23 s.
    reachable = not constants.HF_HUB_OFFLINE and _answers(constants.ENDPOINT, HUB_SECONDS)
    try:
        return [
            Path(
                huggingface_hub.hf_hub_download(
                    repository, file, repo_type="dataset", revision=revision, local_files_only=not reachable
                )
            )
            for file in files
        ]
    except Exception as error:
        other = "dataset.data_dir=PATH with its train*.parquet and test*.parquet; or dataset.source=embedded"
        if reachable:
            told = " ".join(str(error).split())
            raise DataError(
                f"{constants.ENDPOINT} did not hand over {repository}@{revision} ({told})",
                f"dataset.revision=main; or {other}",
            ) from error
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} is out of reach"
        raise DataError(
            f"{why}, and {repository}@{revision} is not in the Hugging Face cache {constants.HF_HUB_CACHE}",
            f"{other}; or HF_HUB_OFFLINE=1 HF_HOME=PATH where another Hugging Face cache holds it",
        ) from error


def _answers(url: str, seconds: float) -> bool:
    from huggingface_hub import get_session

    answers = []

    def ask() -> None:
        try:
            answers.append(get_session().head(url, timeout=seconds))
        except Exception as error:  # whichever HTTP library the hub's client stands on, an error is no answer
            log.debug("%s: %s", url, error)

    # In a thread, because looking up the host's name heeds no timeout.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers)
