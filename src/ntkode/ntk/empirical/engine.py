"""One kernel's computation: its method, blocks of rows within the memory budget, and a report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ntkode.integrate import Solver
from ntkode.models import ODEModel
from ntkode.ntk.empirical.contraction import Factor, contract
from ntkode.ntk.empirical.factors import CompressionFailed, RecordedFactors
from ntkode.ntk.empirical.jacobian import JacobianFactors
from ntkode.ntk.empirical.layout import OUTPUTS, Layout, Outputs
from ntkode.ntk.empirical.planning import Choice, kernel_flops
from ntkode.ntk.empirical.precision import (
    TOLERANCE,
    differentiable_twin,
    free_bytes,
    output_count,
    rounding,
    solve_dtype,
)
from ntkode.ntk.empirical.recording import NotRecordableError, RandomOutputError, Recorder

logger = logging.getLogger("ntkode.ntk")

Method = Literal["auto", "pairs", "build", "compressed", "jacobian"]
METHODS: tuple[Method, ...] = ("auto", "pairs", "build", "compressed", "jacobian")
# Samples on which the fixed-step stand-in of an adaptive solve is checked.
SOLVER_ROWS, SOLVER_BYTES = 4, 2**30


@dataclass(frozen=True)
class Options:
    """Options of a kernel's computation; see `empirical_ntk`.

    Raises:
        ValueError: an unknown method, outputs or dtype, or a tolerance or budget out of range.
    """

    method: Method = "auto"
    outputs: Outputs = "trace"
    blocks: bool = False
    dtype: torch.dtype | None = None
    tolerance: float | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("outputs", OUTPUTS), ("dtype", (None, *TOLERANCE))):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name}={value!r} must be one of {', '.join(map(str, known))}")
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance={self.tolerance} must lie between 0 and 1, as in tolerance=1e-6")
        if self.max_bytes is not None and self.max_bytes < 1:
            raise ValueError(f"max_bytes={self.max_bytes} must be positive, as in max_bytes=2**30")


@dataclass(frozen=True)
class KernelReport:
    """How a kernel was computed, and its estimated errors.

    Attributes:
        method: "recorded" or "jacobian".
        choices: by weight: calls, terms, contraction; empty for "jacobian".
        solve_dtype: of the forward and adjoint passes.
        rows_at_once: samples whose derivatives are held at a time.
        jacobian_error: relative error of ∂f/∂θ by rounding, compression and coupling; λ_min is known to its
            square times λ_max (`spectrum` takes it).
        compression_error: the compression's share, the largest root mean square over a chunk of samples.
        coupling: relative derivative of an output by other samples of its batch.
        solver: the fixed-step solve that was differentiated, where the model's is adaptive.
        solver_error: relative change of the kernel of some samples when that solve's steps are doubled.
    """

    method: str
    choices: dict[str, Choice]
    solve_dtype: torch.dtype
    rows_at_once: int
    jacobian_error: float
    compression_error: float
    coupling: float
    solver: str | None
    solver_error: float


class Engine:
    """Computes kernels of shape (M, N1, M, N2): M outputs with separate rows.

    Args:
        model: see `empirical_ntk`; so are x1 and x2.
        x1: inputs of shape (N1, …).
        x2: inputs of shape (N2, …), or None for x1.
        options: see `empirical_ntk`.
        share: the rows of x1 that this process differentiates, where others differentiate the rest.
    """

    def __init__(
        self,
        model: nn.Module,
        x1: Tensor,
        x2: Tensor | None,
        options: Options,
        share: slice = slice(None),
    ) -> None:
        _check(x1, x2)
        self._model = model
        self._share = share
        self._twin, self._solver = differentiable_twin(model, options.dtype)
        self._solve_dtype = options.dtype or solve_dtype(model, x1)
        self.x1 = x1.to(self._solve_dtype)
        self.x2 = None if x2 is None else x2.to(self._solve_dtype)
        self.k = output_count(self._twin, self.x1)
        self.layout = Layout(options.outputs, options.dtype or torch.float64)
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        if not trained:
            raise ValueError("the model has no parameter that requires a gradient: its kernel is zero")
        self._names = trained if options.blocks else [""]
        budget = free_bytes(x1.device) // 4 if options.max_bytes is None else options.max_bytes
        self._left = budget - self._kernel_bytes(budget)
        self.factors = self._factors_for(options)
        self._rows_at_once = self._rows_that_fit()

    @property
    def columns(self) -> Tensor:
        """x2, or x1 where there is none."""
        return self.x1 if self.x2 is None else self.x2

    def kernels(self) -> dict[str, Tensor]:
        """Kernels by parameter, or that of all parameters under ""."""
        try:
            return self._kernels()
        except CompressionFailed as failure:
            self.stop_compressing(failure)
            return self._kernels()

    def zeros(self) -> dict[str, Tensor]:
        """Zero kernels of shape (M, N1, M, N2), by parameter as in `kernels`."""
        m = self.layout.separate(self.k)
        shape = (m, len(self.x1), m, len(self.columns))
        empty = torch.zeros(shape, dtype=self.layout.dtype, device=self.x1.device)
        return {name: empty.clone() for name in self._names}

    def add(
        self,
        kernels: dict[str, Tensor],
        first: dict[str, Factor],
        second: dict[str, Factor],
        here: slice,
        there: slice,
    ) -> None:
        """Add the products of two blocks of samples in their place; of a symmetric kernel, in both places."""
        # A solve that is coarser than the kernel lets light terms be multiplied in float32.
        mixed = self._solve_dtype.itemsize < self.layout.dtype.itemsize
        for name, one in first.items():
            kernel = kernels[name if name in kernels else ""]
            contract(one, one if second is first else second[name], kernel[:, here, :, there], mixed=mixed)
        if self.x2 is None and here != there:
            for kernel in kernels.values():
                kernel[:, there, :, here] = kernel[:, here, :, there].permute(2, 3, 0, 1)

    def arranged(self, kernel: Tensor) -> Tensor:
        """A kernel as users see it: see `Layout.arranged`."""
        return self.layout.arranged(kernel, self.k)

    def stop_compressing(self, reason: CompressionFailed) -> None:
        """Use the recorded calls without compression from now on."""
        assert isinstance(self.factors, RecordedFactors)
        logger.info("%s: the calls are used without compression", reason)
        self.factors = self.factors.without_compression(self.x1[self._share])
        self._rows_at_once = self._rows_that_fit()

    def report(self) -> KernelReport:
        """How the kernels were computed, and their estimated errors."""
        recorded = self.factors if isinstance(self.factors, RecordedFactors) else None
        choices = recorded.choices if recorded else {}
        compression = recorded.compression_error if recorded else 0.0
        coupling = recorded.coupling if recorded else 0.0
        return KernelReport(
            method="recorded" if recorded else "jacobian",
            choices=choices,
            solve_dtype=self._solve_dtype,
            rows_at_once=self._rows_at_once,
            jacobian_error=max(
                rounding(self._solve_dtype), compression, coupling, *(c.tail for c in choices.values())
            ),
            compression_error=compression,
            coupling=coupling,
            solver=None if self._solver is None else str(self._solver),
            solver_error=0.0 if self._solver is None else self._solver_error(self._solver),
        )

    def _kernels(self) -> dict[str, Tensor]:
        kernels = self.zeros()
        for here, there in self._blocks():
            first = self.factors(self.x1[here])
            same = self.x2 is None and here == there
            self.add(kernels, first, first if same else self.factors(self.columns[there]), here, there)
        return kernels

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """Blocks of rows and columns; of a symmetric kernel those on and above the diagonal."""
        size = self._rows_at_once
        for start in range(0, len(self.x1), size):
            for other in range(start if self.x2 is None else 0, len(self.columns), size):
                yield slice(start, start + size), slice(other, other + size)

    def _factors_for(self, options: Options) -> RecordedFactors | JacobianFactors:
        if options.method != "jacobian":
            try:
                return self._recorded(options)
            except NotRecordableError as error:
                if options.method != "auto" or isinstance(error, RandomOutputError):
                    raise
                logger.info("the kernel is computed by method=jacobian: %s", error)
        return JacobianFactors(self._twin, self.k, self.layout)

    def _recorded(self, options: Options) -> RecordedFactors:
        factors = RecordedFactors(
            recorder=Recorder(self._twin),
            k=self.k,
            layout=self.layout,
            method=options.method,
            tolerance=options.tolerance or TOLERANCE[self._solve_dtype],
            cost=kernel_flops(len(self.x1), len(self.columns)),
            max_bytes=self._left // 3,
        )
        factors.start(self.x1[self._share])
        return factors

    def _kernel_bytes(self, budget: int) -> int:
        """Of all kernels, and of one more while they are put in order."""
        entries = self.layout.separate(self.k) ** 2 * len(self.x1) * len(self.columns)
        needed = (len(self._names) + 1) * entries * self.layout.dtype.itemsize
        if needed >= budget:
            raise ValueError(
                f"a kernel of {len(self.x1)} × {len(self.columns)} samples takes {needed} bytes, "
                f"more than max_bytes={budget}: raise it, take fewer samples or outputs='trace', or multiply "
                "by the kernel without forming it (ntkode.ntk.kernel_operator)"
            )
        return needed

    def _rows_that_fit(self) -> int:
        """Samples a block: all, or as many as let two blocks lie within a third of what the kernel leaves."""
        a_row = max(1, self.factors.bytes_a_row())
        rows = max(len(self.x1), len(self.columns))
        blocks = 1 if self.x2 is None else 2
        fitting = self._left // 3 // a_row
        return rows if blocks * rows <= fitting else max(1, fitting // 2)

    def _solver_error(self, solver: Solver) -> float:
        assert solver.steps is not None
        once, twice = (self._few(Solver(solver.method, steps=n * solver.steps)) for n in (1, 2))
        return float((once - twice).norm() / twice.norm())

    def _few(self, solver: Solver) -> Tensor:
        """The kernel of some samples by another solver."""
        assert isinstance(self._model, ODEModel)
        options = Options(outputs="sum", dtype=torch.float64, max_bytes=SOLVER_BYTES)
        return Engine(self._model.solved_by(solver), self.x1[:SOLVER_ROWS], None, options).kernels()[""]


def _check(x1: Tensor, x2: Tensor | None) -> None:
    for x in (x1, x2):
        if x is not None and (x.ndim < 2 or len(x) == 0 or not x.isfinite().all()):
            raise ValueError(f"inputs of shape {tuple(x.shape)} must be (N, d) and finite, with N ≥ 1")
    if x2 is not None and x2.shape[1:] != x1.shape[1:]:
        raise ValueError(f"x1 has samples of shape {tuple(x1.shape[1:])}, x2 of {tuple(x2.shape[1:])}")
