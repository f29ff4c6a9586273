"""Checkpoints of a training run: taken between two steps; a resumed run gives bit-identical numbers."""

from __future__ import annotations

import io
import random
import signal
import time
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ntkode.checks import nonnegative
from ntkode.data import DataModule
from ntkode.files import write_atomically
from ntkode.metrics import Metric
from ntkode.ranks import rank
from ntkode.results import SOURCES_SHA256, RunRecord, package_versions, user_code
from ntkode.signals import HeldSignals
from ntkode.training import TrainingModule

STORED = 2
"""Number of checkpoints kept: the newest, and one in reserve if that is corrupt."""


def checkpoint_origin(config: Mapping[str, Any], data: DataModule) -> dict[str, Any]:
    """The digests and versions of all that a checkpoint depends on, by the names used in messages."""
    own = {f"code ({name})": digest for name, digest in user_code(config).items()}
    return {"sources": SOURCES_SHA256, "data": data.description["sha256"], **own, **package_versions()}


class UnusableCheckpoint(ValueError):
    """A checkpoint from which the run cannot give the numbers of an uninterrupted one."""


class DurableCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints, written atomically, and read as plain values and tensors only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Store a checkpoint: after a crash, `path` holds all of it or its previous content."""
        buffer = io.BytesIO()  # to a full disk, torch.save raises a RuntimeError in place of an OSError
        torch.save(checkpoint, buffer)
        write_atomically(Path(path), buffer.getvalue())

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: Any = None
    ) -> dict[str, Any]:
        """Read a checkpoint without executing code from it (see `read_checkpoint`)."""
        return read_checkpoint(Path(path))


class Checkpoints(L.Callback):
    """Takes checkpoints at intervals, and before a signal ends the run; must be the last callback.

    In addition to Lightning's content (model, optimizer, loops) and the module's, a checkpoint holds the
    metrics' attributes, the random states, and size and digest of the history. When a signal arrives, the
    present step is completed and a checkpoint taken before the run ends.

    Args:
        record: the run's record.
        every_seconds: seconds between two checkpoints; 0: one after each step; None: no checkpoints.
        metrics: the run's metrics by name.
        origin: code, data and packages by name (`checkpoint_origin`); a checkpoint of others is not used.

    Attributes:
        earlier_seconds: seconds that earlier attempts took up to the checkpoint from which the run resumes.

    Raises:
        ValueError: a negative `every_seconds`.
    """

    def __init__(
        self,
        record: RunRecord,
        every_seconds: float | None,
        metrics: Mapping[str, Metric],
        origin: Mapping[str, Any],
    ) -> None:
        self._every = every_seconds
        if every_seconds is not None:
            self._every = nonnegative("checkpoint.every_seconds", every_seconds)
        self._record = record
        self._metrics = metrics
        self._origin = dict(origin)
        self._held = HeldSignals()
        self._began = self._taken = time.monotonic()
        self._random_states: dict[str, Any] | None = None
        self.earlier_seconds = 0.0

    @property
    def state_key(self) -> str:
        """The key of this callback's state in Lightning's checkpoints."""
        return "checkpoints"

    def newest_usable(self) -> Path | None:
        """The newest usable checkpoint; None: the run starts over.

        The history is cut back to the checkpoint's step. The record's message says why newer checkpoints
        are not used.
        """
        problems = []
        for path in self._record.checkpoints:
            try:
                kept = self._usable(path)
            except UnusableCheckpoint as problem:
                problems.append(f"{path.name} is not used: {problem}")
                continue
            self._remark([*problems, f"resumed from {path.name}"] if problems else [])
            self._record.cut_history(kept["history_bytes"])
            return path
        self._remark([*problems, "started over"] if problems else [])
        self._record.cut_history(0)
        return None

    def _remark(self, messages: list[str]) -> None:
        if messages:
            self._record.remark(", ".join(messages))

    def _usable(self, path: Path) -> dict[str, Any]:
        """The state of this callback in a checkpoint (see `state_dict`).

        Raises:
            UnusableCheckpoint: it is corrupt, comes from other code, packages or data, or the history is not
                the one at the checkpoint.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:  # torch.load does not compare checksums
                    raise UnusableCheckpoint("it is corrupt")
            kept: dict[str, Any] = read_checkpoint(path)["callbacks"][self.state_key]
        except UnusableCheckpoint:
            raise
        except Exception as error:  # reading a corrupt file raises many types
            raise UnusableCheckpoint(f"it is corrupt ({type(error).__name__})") from error
        differing = sorted(key for key, value in self._origin.items() if kept["origin"].get(key) != value)
        if differing:
            raise UnusableCheckpoint(f"it was written with other {', '.join(differing)}")
        size = kept["history_bytes"]
        if not self._record.has_rows_up_to(size):
            raise UnusableCheckpoint("history.jsonl is shorter than at the checkpoint")
        # Checkpoints of earlier versions have no digest.
        if kept.get("history_sha256") not in (None, self._record.history_digest(size)):
            raise UnusableCheckpoint("history.jsonl has changed since the checkpoint")
        return kept

    # ------------------------------------------------------------------ Lightning's hooks

    def state_dict(self) -> dict[str, Any]:
        """The state of this callback in a checkpoint: origin, history size, metrics, random states, time."""
        size = self._record.sync_history()
        return {
            "origin": self._origin,
            "history_bytes": size,
            "history_sha256": self._record.history_digest(size),
            "metrics": {name: metric.kept() for name, metric in self._metrics.items()},
            "random_states": _random_states(),
            "seconds": self.earlier_seconds + time.monotonic() - self._began,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` has stored; the random states are set when the training starts."""
        for name, metric in self._metrics.items():
            metric.restore(state_dict["metrics"][name])
        # Lightning warns because it does not know that the batches are a function of the step.
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch")
        self._random_states = state_dict["random_states"]
        self.earlier_seconds = state_dict["seconds"]

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Set the random states, after all preparations, and take checkpoints from now on."""
        if self._random_states is not None:
            _set_random_states(self._random_states)
        # Lightning's handler would broadcast the signal between other exchanges of the ranks. Like an
        # interrupt, SIGTERM ends rank 0, which then ends the others.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
        if self._every is not None:
            pl_module.after_row = lambda step: self._after_row(trainer, pl_module, step)
            if rank() == 0:
                self._held.hold()

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Restore the signal handlers."""
        self._held.forget()

    def _after_row(self, trainer: L.Trainer, module: TrainingModule, step: int) -> None:
        # None after the last step: only the last row is missing, and Lightning would resume with a new epoch.
        last = step + 1 == module.data.steps
        if not last and trainer.strategy.reduce_boolean_decision(self._due(), all=False):
            self._take(trainer, step + 1)
        if last or self._held.pending:
            self._held.release()

    def _due(self) -> bool:
        assert self._every is not None
        return self._held.pending or time.monotonic() - self._taken >= self._every

    def _take(self, trainer: L.Trainer, steps: int) -> None:
        try:
            path = self._record.checkpoints_dir / f"step-{steps:09d}.ckpt"
            trainer.save_checkpoint(path, weights_only=False)
            for old in self._record.checkpoints[STORED:]:
                old.unlink(missing_ok=True)
        except OSError as error:  # the run can continue without a checkpoint
            print(f"no checkpoint at step {steps}: {error}", flush=True)
        self._taken = time.monotonic()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; tensors of any GPU are loaded to the present one.

    Raises:
        Exception: the file is corrupt, or holds more than plain values and tensors.
    """
    content: dict[str, Any] = torch.load(path, map_location=_to_present_device, weights_only=True)
    return content


def _to_present_device(storage: Any, location: str) -> Any:
    return storage.cuda() if location.startswith("cuda") else storage


def _random_states() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
        "python": random.getstate(),
    }


def _set_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(states["python"])
