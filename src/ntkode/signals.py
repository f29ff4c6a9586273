"""Signals that end a job, held back while a training step is computed."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
# Seconds after which another signal no longer waits: a step or a metric that takes so long is cut short.
PATIENCE = 10.0


class HeldSignals:
    """Holds signals back from `hold` to `release`, which then lets them do what they would have done.

    Attributes:
        pending: whether one has come.
    """

    def __init__(self) -> None:
        self.pending = False
        self._came: tuple[int, float] | None = None  # signal, time
        self._handlers: dict[int, Any] = {}

    def hold(self) -> None:
        """From now on signals wait; to be called in the main thread."""
        self._handlers = {number: signal.signal(number, self._note) for number in ENDING}

    def release(self) -> None:
        """Put the handlers back, and have that of the first signal that came do its work."""
        came = self._came
        self.forget()
        if came is not None:
            signal.raise_signal(came[0])

    def forget(self) -> None:
        """Put the handlers back: what was held back comes too late, the job has ended otherwise."""
        handlers, self._handlers = self._handlers, {}
        for number, handler in handlers.items():
            signal.signal(number, handler)
        self._came, self.pending = None, False

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._came is None:
            self._came, self.pending = (number, now), True
        elif now - self._came[1] > PATIENCE:
            self.release()
