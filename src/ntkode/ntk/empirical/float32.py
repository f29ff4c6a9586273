"""Full float32 precision of matrix products and convolutions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 products and convolutions in full precision during the block or the decorated call.

    PyTorch rounds the factors to the 11 bits of TF32, or to the 8 bits of bfloat16, if
    `torch.set_float32_matmul_precision` or `torch.backends` allow it; TF32 is the default of convolutions on
    a GPU. These settings hold for the process: the first block of all threads overrides them, and the last
    one restores them. `torch.autocast` replaces float32 by bfloat16 or float16; it is off during the block.
    `precision.rounding` bounds the error of a solve only in full precision.
    """
    _FULL_PRECISION.begin()
    try:
        with ExitStack() as stack:
            for device in ("cpu", "cuda"):
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            yield
    finally:
        _FULL_PRECISION.end()


class FullPrecision:
    """Full float32 precision in this process while at least one block or thread needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._restore = ExitStack()

    def begin(self) -> None:
        """Override PyTorch's settings, unless another block has."""
        with self._lock:
            self._blocks += 1
            if self._blocks == 1:
                self._override()

    def end(self) -> None:
        """Restore the settings, unless another block needs the override."""
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                self._restore.close()

    def _override(self) -> None:
        # PyTorch's getter returns, for an unset operation, the value of its backend, and for an unset backend
        # the generic value. The order below reads the value that was set, so that what was unset stays unset.
        legacy = _legacy_matmul_precision()
        # Without a GPU no product is rounded to TF32, and the getter `cudnn.allow_tf32` would raise.
        backends = ("cuda", "mkldnn") if torch.cuda.is_available() else ("mkldnn",)
        self._set("generic", "all", "none")
        for backend in backends:
            self._set(backend, "all", "none")
        if legacy not in (None, "highest"):  # so that the legacy getters agree with the new ones
            for backend in ("cuda", "mkldnn"):
                self._set(backend, "matmul", "ieee")
            torch.set_float32_matmul_precision("highest")
            self._restore.callback(torch.set_float32_matmul_precision, legacy)
        for backend in backends:
            self._set(backend, "all", "ieee")
            for operation in ("matmul", "conv", "rnn"):
                if _precision(backend, operation) != "ieee":
                    self._set(backend, operation, "ieee")

    def _set(self, backend: str, operation: str, precision: str) -> None:
        before = _precision(backend, operation)
        _set_precision(backend, operation, precision)
        self._restore.callback(_set_precision, backend, operation, before)


def _precision(backend: str, operation: str) -> str:
    return str(torch._C._get_fp32_precision_getter(backend, operation))


def _set_precision(backend: str, operation: str, precision: str) -> None:
    torch._C._set_fp32_precision_setter(backend, operation, precision)


def _legacy_matmul_precision() -> str | None:
    """The value of PyTorch's older setting; None if newer settings contradict it."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


_FULL_PRECISION = FullPrecision()
