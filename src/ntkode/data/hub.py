"""Where the parquet files of a published data set lie: on the Hugging Face hub, or in a folder."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import numpy as np

from ntkode.data.errors import DataError
from ntkode.data.sources import sha256

log = logging.getLogger(__name__)

HUB_SECONDS = 3.0  # how long the hub may take to answer at all


@dataclass(frozen=True)
class SplitFiles:
    """The parquet files of both splits.

    Attributes:
        origin: where they lie, as "hub:REPOSITORY@COMMIT" or "directory:PATH".
        train: of the training split, in order.
        test: of the test split, in order.
    """

    origin: str
    train: list[Path]
    test: list[Path]

    def sha256(self) -> str:
        """Digest of the contents of all files in turn."""
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
        otherwise: overrides that lead to the data without hub and folder, where there are some.
    """

    repository: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    otherwise: str = ""

    def files(self, data_dir: str | Path | None, revision: str) -> SplitFiles:
        """The files of the folder `data_dir` if it is given, else of the hub at `revision`.

        Raises:
            DataError: they are not there, or the hub cannot be reached (`parquet_files`, `hub_files`).
        """
        if data_dir is not None:
            train, test = (parquet_files(data_dir, split) for split in ("train", "test"))
            return SplitFiles(f"directory:{data_dir}", train, test)
        paths = hub_files(self.repository, (*self.train, *self.test), revision, otherwise=self.otherwise)
        commit = paths[0].parts[paths[0].parts.index("snapshots") + 1]
        count = len(self.train)
        return SplitFiles(f"hub:{self.repository}@{commit}", paths[:count], paths[count:])


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


def hub_files(repository: str, files: Sequence[str], revision: str, *, otherwise: str = "") -> list[Path]:
    """Files of a data set on the Hugging Face hub, downloaded once into the Hugging Face cache.

    Out of reach of the hub (or with HF_HUB_OFFLINE=1) the cache alone is used. HF_ENDPOINT, HF_HOME and
    proxies are respected. The folder below `snapshots/` on a path is the commit.

    Args:
        repository: its name.
        files: their paths in it.
        revision: branch, tag or commit.
        otherwise: one more way out for the error to name.

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
        other = "dataset.data_dir=PATH with its train*.parquet and test*.parquet"
        other += f"; or {otherwise}" if otherwise else ""
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
