"""Signals that end a job, delayed while a training step is computed."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
# A second signal that comes this many seconds after the first is not delayed: it ends a long step or metric.
PATIENCE = 10.0


class HeldSignals:
    """Delays signals from `hold` to `release`, which then delivers the first of them.

    Attributes:
        pending: whether a signal has arrived.
    """

    def __init__(self) -> None:
        self.pending = False
        self._first: tuple[int, float] | None = None  # signal and time of arrival
        self._handlers: dict[int, Any] = {}

    def hold(self) -> None:
        """Delay signals from now on; must be called in the main thread."""
        self._handlers = {number: signal.signal(number, self._note) for number in ENDING}

    def release(self) -> None:
        """Restore the handlers, and raise the first signal that has arrived, if any."""
        first = self._first
        self.forget()
        if first is not None:
            signal.raise_signal(first[0])

    def forget(self) -> None:
        """Restore the handlers and drop delayed signals, for a job that is already ending."""
        handlers, self._handlers = self._handlers, {}
        for number, handler in handlers.items():
            signal.signal(number, handler)
        self._first, self.pending = None, False

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self.pending = (number, now), True
        elif now - self._first[1] > PATIENCE:
            self.release()
