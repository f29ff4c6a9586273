"""Derivatives of samples, in the form with the cheapest kernel."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ntkode.ntk.empirical import compression, contraction
from ntkode.ntk.empirical.compression import Basis
from ntkode.ntk.empirical.contraction import Factor, Gradients, OuterProducts
from ntkode.ntk.empirical.layout import Layout
from ntkode.ntk.empirical.planning import CANDIDATES, Choice, Cost, Weight, cheapest
from ntkode.ntk.empirical.recording import Calls, Recorder, Recording
from ntkode.ntk.spectrum import NonFiniteKernelError

logger = logging.getLogger("ntkode.ntk")

# Samples recorded at a time. On a CPU more exceed a core's cache, and fewer use its arithmetic units poorly.
# On a GPU fewer are solved in less time than it takes to start the operations.
CHUNK, GPU_CHUNK = 128, 1024
# Bound on the error of a single sample, as a multiple of the tolerance on the root mean square.
WORST = 10


class CompressionFailed(RuntimeError):
    """The calls of some samples are not spanned by the basis, which was fitted to other samples."""


@dataclass
class RecordedFactors:
    """Per-sample derivatives by the trained parameters of a model, from recorded calls.

    Args:
        recorder: the recorder of the model.
        k: number of outputs.
        layout: arrangement of the outputs in the kernel.
        method: one of `planning.CANDIDATES`.
        tolerance: bound on the relative error of the derivatives by compression.
        cost: cost function that selects the form of the derivatives.
        max_bytes: memory bound while recording; the derivatives of one sample take at most a hundredth of it
            if any choice allows that.

    Attributes:
        choices: selected terms and contraction by weight, after `start`.
        coupling: see `Recorder.coupling`, after `start`.
        compression_error: largest root mean square of the compression's error over a chunk of samples so far.
    """

    recorder: Recorder
    k: int
    layout: Layout
    method: str
    tolerance: float
    cost: Cost
    max_bytes: int
    choices: dict[str, Choice] = field(default_factory=dict)
    coupling: float = 0.0
    compression_error: float = 0.0

    def start(self, x: Tensor) -> None:
        """Check that samples are independent, and select the form of each weight's derivative.

        Raises:
            NotRecordableError: see `Recorder`.
            NonFiniteKernelError: an input or cotangent is not finite.
        """
        self.coupling, numbers = self.recorder.coupling(x)
        # Calls, cotangents and graph in the dtype of the solve, and copies in that of the kernel.
        recorded = numbers * (4 * x.element_size() + 2 * self.layout.dtype.itemsize)
        chunk = CHUNK if x.device.type == "cpu" else GPU_CHUNK
        self._chunk_rows = max(1, min(chunk, self.max_bytes // max(1, recorded)))
        rows = x[: self._chunk_rows]
        self._first = rows, self._recorded(rows)
        for name, calls in self._first[1].calls.items():
            self.choices[name] = self._choice(calls)
            logger.debug("derivative by %s: %s", name, self.choices[name])

    def __call__(self, x: Tensor) -> dict[str, Factor]:
        """Derivatives of the outputs by each parameter, for all rows of x, by parameter name.

        Raises:
            NotRecordableError, NonFiniteKernelError: see `start`.
            CompressionFailed: samples of x are not spanned by the first ones.
        """
        parts = [self._factors(self._recording(rows)) for rows in x.split(self._chunk_rows)]
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}

    def bytes_per_row(self) -> int:
        """Memory in bytes of the derivatives of one sample, after `start`."""
        whole = sum(g.numel() // g.shape[1] for g in self._first[1].gradients.values())
        # Plus half, for the float32 copies of outer products.
        numbers = whole + sum(3 * choice.numbers // 2 for choice in self.choices.values())
        return numbers * self.layout.dtype.itemsize

    def without_compression(self, x: Tensor) -> RecordedFactors:
        """Restarted copy without compression, for rows like those of x."""
        exact = replace(self, method="uncompressed", choices={}, compression_error=0.0)
        exact.start(x)
        return exact

    def _recording(self, x: Tensor) -> Recording:
        first, recording = self._first
        same = (x.data_ptr(), x.shape, x.stride()) == (first.data_ptr(), first.shape, first.stride())
        return recording if same else self._recorded(x)

    def _recorded(self, x: Tensor) -> Recording:
        recording = self.recorder(x, self.layout.seeds(self.k))
        for name, calls in recording.calls.items():
            total = sum(float(some.inputs.sum()) + float(some.cotangents.sum()) for some in calls)
            if total - total != 0:
                raise NonFiniteKernelError(
                    f"the derivative by {name!r} is NaN or infinite: the model's output is not finite"
                )
        return recording

    def _factors(self, recording: Recording) -> dict[str, Factor]:
        factors: dict[str, Factor] = {}
        for name, calls in recording.calls.items():
            terms = self.layout.outer_products(self._compressed(name, calls))
            factors[name] = contraction.build(terms) if self.choices[name].contraction == "build" else terms
        return factors | {name: self.layout.gradients(g) for name, g in recording.gradients.items()}

    def _compressed(self, name: str, calls: list[Calls]) -> list[Calls]:
        bases = self.choices[name].bases
        if bases is None:
            return calls
        return [self._terms(name, basis, some) for basis, some in zip(bases, calls, strict=True)]

    def _terms(self, name: str, basis: Basis, calls: Calls) -> Calls:
        terms = basis(calls)
        error = compression.error(calls, terms)
        self.compression_error = max(self.compression_error, error.rms)
        if error.rms > self.tolerance or error.worst > WORST * self.tolerance:
            raise CompressionFailed(
                f"the calls of {name} compress to {error.rms:.1e} (worst sample {error.worst:.1e}), not to "
                f"{self.tolerance:.1e}"
            )
        return terms

    def _choice(self, calls: list[Calls]) -> Choice:
        candidates = CANDIDATES[self.method]
        weight = Weight.of(calls, self.layout)
        bases = None
        # Two calls or fewer are not worth compressing.
        if any(compressed for compressed, _ in candidates) and max(weight.calls) > 2:
            bases = tuple(compression.fit(compression.samples(some), self.tolerance) for some in calls)
        choices = [
            Choice(weight, contraction, bases if compressed else None)
            for compressed, contraction in candidates
        ]
        return cheapest(choices, self.cost, self.max_bytes / (100 * self.layout.dtype.itemsize))


def _joined(parts: Sequence[Factor]) -> Factor:
    """Derivatives of consecutive chunks of samples, concatenated."""
    if len(parts) == 1:
        return parts[0]
    whole = [part.values for part in parts if isinstance(part, Gradients)]
    if whole:
        return Gradients(torch.cat(whole, dim=1))
    terms = [part for part in parts if isinstance(part, OuterProducts)]
    inputs = torch.cat([part.inputs for part in terms], dim=2)
    return OuterProducts(inputs, torch.cat([part.cotangents for part in terms], dim=3))
