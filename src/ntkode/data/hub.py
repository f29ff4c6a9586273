"""Parquet files of a published data set, from the Hugging Face hub or from a folder."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from ntkode.data.errors import DataError
from ntkode.data.module import DataModule
from ntkode.data.sources import sha256

log = logging.getLogger(__name__)

HUB_SECONDS = 3.0  # longest wait for the hub's first answer, in seconds


@dataclass(frozen=True)
class SplitFiles:
    """The parquet files of both splits.

    Attributes:
        origin: their source, "hub:REPOSITORY@COMMIT" or "directory:PATH".
        train: files of the training split, in order.
        test: files of the test split, in order.
    """

    origin: str
    train: list[Path]
    test: list[Path]

    def sha256(self) -> str:
        """SHA-256 over the contents of all files in order, in hexadecimal."""
        return sha256(
            [np.frombuffer(path.read_bytes(), dtype=np.uint8) for path in (*self.train, *self.test)]
        )


@dataclass(frozen=True)
class HubDataset:
    """A data set of the Hugging Face hub.

    Attributes:
        repository: its name on the hub.
        train: paths of the training files in the repository.
        test: paths of the test files.
        otherwise: overrides for a source other than hub and folder; "" if there is none.
    """

    repository: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    otherwise: str = ""

    def files(self, data_dir: str | Path | None, revision: str) -> SplitFiles:
        """The files of the folder `data_dir` if it is given, else of the hub at `revision`.

        Raises:
            DataError: the files do not exist, or the hub cannot be reached (see `parquet_files`,
                `hub_files`).
        """
        if data_dir is not None:
            train, test = (parquet_files(data_dir, split) for split in ("train", "test"))
            return SplitFiles(f"directory:{data_dir}", train, test)
        paths = hub_files(self.repository, (*self.train, *self.test), revision, otherwise=self.otherwise)
        commit = paths[0].parts[paths[0].parts.index("snapshots") + 1]
        count = len(self.train)
        return SplitFiles(f"hub:{self.repository}@{commit}", paths[:count], paths[count:])


class HubModule(DataModule):
    """A data set whose samples are in parquet files on the Hugging Face hub, or in a folder.

    Args:
        data_dir: a folder with train*.parquet and test*.parquet laid out as on the hub; replaces the hub. A
            missing source is an error: no other source is used in its place.
        revision: branch, tag or commit of the hub's data set.
        **common: arguments of every data set (`DataModule`).
    """

    hub: HubDataset

    def __init__(self, *, data_dir: str | Path | None = None, revision: str = "main", **common: Any) -> None:
        super().__init__(**common)
        self.data_dir = data_dir
        self.revision = revision

    def files(self) -> SplitFiles:
        """The files of `data_dir` if it is given, else of the hub; raises `DataError`."""
        return self.hub.files(self.data_dir, self.revision)


def parquet_files(directory: str | Path, split: str) -> list[Path]:
    """The files `<split>*.parquet` of a folder laid out as on the hub, in order.

    Raises:
        DataError: the folder does not exist, or holds no such file.
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


def hub_files(repository: str, files: Sequence[str], revision: str, *, otherwise: str = "") -> list[Path]:
    """Files of a data set on the Hugging Face hub, downloaded once into the Hugging Face cache.

    Without the hub (or with HF_HUB_OFFLINE=1) only the cache is used. HF_ENDPOINT, HF_HOME and proxies are
    respected. In the returned paths the folder below `snapshots/` is the commit.

    Args:
        repository: name of the data set on the hub.
        files: paths of the files in the repository.
        revision: branch, tag or commit.
        otherwise: a further override for the error's remedy.

    Raises:
        DataError: the hub does not answer within `HUB_SECONDS` and the files are not in the cache, or the hub
            refuses them.
    """
    import huggingface_hub
    from huggingface_hub import constants

    # Tested first, because the hub's client would retry an unreachable host for 23 s.
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
        other = "dataset.data_dir=PATH with its train*.parquet and test*.parquet"
        other += f"; or {otherwise}" if otherwise else ""
        if reachable:
            message = " ".join(str(error).split())
            raise DataError(
                f"{constants.ENDPOINT} refused {repository}@{revision} ({message})",
                f"dataset.revision=main; or {other}",
            ) from error
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} is out of reach"
        raise DataError(
            f"{why}, and {repository}@{revision} is not in the Hugging Face cache {constants.HF_HUB_CACHE}",
            f"{other}; or HF_HUB_OFFLINE=1 HF_HOME=PATH of a Hugging Face cache that holds it",
        ) from error


def _answers(url: str, seconds: float) -> bool:
    from huggingface_hub import get_session

    answers = []

    def request() -> None:
        try:
            answers.append(get_session().head(url, timeout=seconds))
        except Exception as error:  # the type depends on the HTTP library of the hub's client
            log.debug("%s: %s", url, error)

    # In a thread, because resolving the host name ignores the timeout.
    thread = Thread(target=request, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers)
