"""Derivatives of a batch in the form that makes its kernel cheapest: chosen on the first samples, then kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ntkode.ntk import compression, contraction
from ntkode.ntk.compression import Basis
from ntkode.ntk.contraction import Factor, Gradients, OuterProducts
from ntkode.ntk.layout import Layout
from ntkode.ntk.recording import Calls, Recorder, Recording
from ntkode.ntk.spectrum import NonFiniteKernelError

logger = logging.getLogger("ntkode.ntk")

# Samples recorded at a time: more fall out of a core's cache, fewer waste its multipliers.
CHUNK = 128
# Samples of every chunk on which a compression's error is estimated.
CHECKED = 4


@dataclass(frozen=True)
class Choice:
    """How the kernel of one weight is computed.

    Attributes:
        calls: C, calls in one forward pass.
        terms: T ≤ C·positions, outer products that stand for them.
        contraction: "pairs" or "build".
        bases: one for each shape of call where the calls are compressed, else None.
    """

    calls: int
    terms: int
    contraction: str
    bases: tuple[Basis, ...] | None = None

    @property
    def tail(self) -> float:
        """Relative norm of what the compression leaves out."""
        return max((basis.tail for basis in self.bases or ()), default=0.0)


@dataclass
class RecordedFactors:
    """Per-sample derivatives of a model's trained parameters from recorded calls.

    Args:
        recorder: of the model.
        k: number of outputs.
        layout: how they end up in the kernel.
        method: "auto", "pairs", "build", "compressed", or "uncompressed" for the cheaper of "pairs" and "build".
        tolerance: relative error of the derivatives that a compression may make.
        rows: N1 and N2 of the kernel, for the estimate of its cost.
        max_bytes: memory to stay below while recording.

    Attributes:
        choices: what was chosen, by weight, once samples have been seen.
        compression_error: largest relative error measured on samples so far.
    """

    recorder: Recorder
    k: int
    layout: Layout
    method: str
    tolerance: float
    rows: tuple[int, int]
    max_bytes: int
    choices: dict[str, Choice] = field(default_factory=dict)
    compression_error: float = 0.0

    def __call__(self, x: Tensor) -> dict[str, Factor]:
        """Derivatives of the outputs of all rows of x, by the parameter's name.

        Raises:
            NotRecordableError: see `Recorder`.
            NonFiniteKernelError: an input or cotangent is not finite.
        """
        parts = [self._chunk(rows) for rows in x.split(self.chunk(x))]
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}

    def chunk(self, x: Tensor) -> int:
        """Samples to record at a time within the memory budget."""
        # Calls, their cotangents and graph in the solve's dtype, and their copies in the kernel's.
        a_row = self.numbers_a_row * (4 * x.element_size() + 2 * self.layout.dtype.itemsize)
        return max(1, min(CHUNK, self.max_bytes // max(1, a_row)))

    def start(self, x: Tensor) -> None:
        """Check that samples are independent, and choose how to contract each weight.

        Raises:
            NotRecordableError: see `Recorder`.
        """
        self.coupling, self.numbers_a_row = self.recorder.coupling(x)
        wanted = x[: min(len(x), self.chunk(x))]
        self._first = wanted, self._recorded(wanted)
        for name, calls in self._first[1].calls.items():
            self.choices[name] = self._choice(calls)
            logger.debug("kernel of %s: %s", name, _told(self.choices[name]))

    def bytes_a_row(self) -> int:
        """Memory that the derivatives of one sample take, once started."""
        k, calls = len(self.layout.seeds(self.k)), self._first[1].calls
        numbers = sum(g.numel() // g.shape[1] for g in self._first[1].gradients.values())
        for name, choice in self.choices.items():
            p, q, groups = self._sizes(calls[name])
            # Half as much again for the float32 copies of outer products.
            pairs = 3 * choice.terms * (p + k * q) // 2
            numbers += groups * (pairs if choice.contraction == "pairs" else k * p * q)
        return numbers * self.layout.dtype.itemsize

    def _chunk(self, x: Tensor) -> dict[str, Factor]:
        first, recording = self._first
        if len(x) != len(first) or x.data_ptr() != first.data_ptr():
            recording = self._recorded(x)
        return self._factors(recording)

    def _recorded(self, x: Tensor) -> Recording:
        recording = self.recorder(x, self.layout.seeds(self.k))
        for name, calls in recording.calls.items():
            sums = sum(float(c.inputs.sum() + c.cotangents.sum()) for c in calls)
            if sums - sums != 0:
                raise NonFiniteKernelError(
                    f"the derivative by {name!r} holds NaN or infinite entries: the model's output is not finite"
                )
        return recording

    def _factors(self, recording: Recording) -> dict[str, Factor]:
        factors: dict[str, Factor] = {}
        for name, calls in recording.calls.items():
            terms = self.layout.outer_products(self._compressed(name, calls))
            factors[name] = contraction.build(terms) if self.choices[name].contraction == "build" else terms
        factors |= {name: self.layout.gradients(g) for name, g in recording.gradients.items()}
        return factors

    def _compressed(self, name: str, calls: list[Calls]) -> list[Calls]:
        bases = self.choices[name].bases
        if bases is None:
            return calls
        for basis, some in zip(bases, calls, strict=True):
            rows = some.inputs.shape[1]
            checked = compression.rows_of(some, torch.arange(rows // 3, rows, max(1, rows // CHECKED)))
            self.compression_error = max(self.compression_error, basis.error(checked))
        if self.compression_error > self.tolerance:
            logger.info(
                "the calls of %s compress to %.1e only, not to %.1e: taken as they are",
                name, self.compression_error, self.tolerance,
            )  # fmt: skip
            raise CompressionFailed(name)
        return [basis(some) for basis, some in zip(bases, calls, strict=True)]

    def without_compression(self) -> RecordedFactors:
        """The same, with all calls taken as they are."""
        return replace(self, method="uncompressed", choices={}, compression_error=0.0)

    def _choice(self, calls: list[Calls]) -> Choice:
        raw = self._cheaper(calls, None)
        if self.method in ("pairs", "build"):
            return replace(raw, contraction=self.method)
        if self.method == "uncompressed":
            return raw
        bases = tuple(compression.fit(compression.samples(some), self.tolerance) for some in calls)
        short = self._cheaper(calls, bases)
        if self.method == "compressed":
            return short
        return min(raw, short, key=lambda choice: self._flops(calls, choice))

    def _cheaper(self, calls: list[Calls], bases: tuple[Basis, ...] | None) -> Choice:
        count = sum(len(some.inputs) for some in calls)
        ranks = [len(c.inputs) for c in calls] if bases is None else [b.rank for b in bases]
        terms = sum(rank * _positions(some) for rank, some in zip(ranks, calls, strict=True))
        candidates = [Choice(count, terms, way, bases) for way in ("pairs", "build")]
        p, q, _ = self._sizes(calls)
        fits = self.k * p * q * self.layout.dtype.itemsize * min(self.rows) <= self.max_bytes // 4
        return min(candidates[: 2 if fits else 1], key=lambda choice: self._flops(calls, choice))

    def _sizes(self, calls: list[Calls]) -> tuple[int, int, int]:
        """(p, q, groups) of a weight."""
        a = calls[0].layer.patches(calls[0].inputs[0, :1])
        g = calls[0].layer.channels(calls[0].cotangents[0, 0, :1])
        return a.shape[-1], g.shape[-1], len(a)

    def _flops(self, calls: list[Calls], choice: Choice) -> float:
        p, q, groups = self._sizes(calls)
        n1, n2 = self.rows
        k = len(self.layout.seeds(self.k))
        m2 = self.layout.separate(self.k) ** 2
        by_outputs = k if m2 == 1 else m2
        project = 0 if choice.bases is None else 2 * choice.calls * choice.terms * (n1 + n2) * (p + k * q)
        if choice.contraction == "pairs":
            return project + groups * 2 * choice.terms**2 * n1 * n2 * (p + by_outputs * q)
        return project + groups * p * q * (2 * choice.terms * (n1 + n2) * k + 2 * n1 * n2 * by_outputs)


class CompressionFailed(RuntimeError):
    """The calls of other samples are not spanned by those that the basis was fitted on."""


def _positions(calls: Calls) -> int:
    return calls.layer.channels(calls.cotangents[0, 0, :1]).shape[1]


def _joined(parts: Sequence[Factor]) -> Factor:
    """Derivatives of consecutive chunks as one; terms stay in the order of the first."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], Gradients):
        return Gradients(torch.cat([part.values for part in parts if isinstance(part, Gradients)], dim=1))
    terms = [part for part in parts if isinstance(part, OuterProducts)]
    return OuterProducts(
        torch.cat([part.inputs for part in terms], dim=2),
        torch.cat([part.cotangents for part in terms], dim=3),
    )


def _told(choice: Choice) -> str:
    short = "" if choice.bases is None else f" compressed to {choice.terms}"
    return f"{choice.calls} calls{short}, {choice.contraction}"
