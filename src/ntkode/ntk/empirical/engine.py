"""Computation of one kernel: choice of method, blocks within the memory budget, and a report."""

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
# Number of samples on which the fixed-step replacement of an adaptive solve is checked.
SOLVER_ROWS, SOLVER_BYTES = 4, 2**30


@dataclass(frozen=True)
class Options:
    """Options of the computation of a kernel; see `empirical_ntk`.

    Raises:
        ValueError: method, outputs or dtype is unknown, or tolerance or budget is out of range.
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
    """Method of a kernel's computation, and its estimated errors.

    Attributes:
        method: "recorded" or "jacobian".
        choices: number of calls and terms, and contraction, by weight; empty for "jacobian".
        solve_dtype: dtype of the forward and adjoint passes.
        rows_at_once: number of samples whose derivatives are held at a time.
        jacobian_error: relative error δ of ∂f/∂θ by rounding, compression and coupling; a vanishing λ_min has
            an error of δ²·λ_max (an argument of `spectrum`).
        compression_error: part of the compression: the largest root mean square over a chunk of samples.
        coupling: relative derivative of an output by other samples of its batch.
        solver: the fixed-step solver that replaced an adaptive one; None if there was none.
        solver_error: relative change of the kernel of some samples when the steps of `solver` are doubled.
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
    """Computation of kernels of shape (M, N1, M, N2), with separate rows for M outputs.

    Args:
        model: see `empirical_ntk`.
        x1: inputs of shape (N1, …).
        x2: inputs of shape (N2, …); None: x1.
        options: see `empirical_ntk`.
        share: the rows of x1 that this process differentiates, if other processes differentiate the rest.
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
        """x2, or x1 if x2 is None."""
        return self.x1 if self.x2 is None else self.x2

    def kernels(self) -> dict[str, Tensor]:
        """Kernels by parameter name, or the kernel over all parameters under ""."""
        try:
            return self._kernels()
        except CompressionFailed as failure:
            self.stop_compressing(failure)
            return self._kernels()

    def zeros(self) -> dict[str, Tensor]:
        """Zero kernels of shape (M, N1, M, N2), with the keys of `kernels`."""
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
        """Add the products of two blocks of samples; for a symmetric kernel also the transposed block."""
        # With a float32 solve and a float64 kernel, small terms may be multiplied in float32.
        mixed = self._solve_dtype.itemsize < self.layout.dtype.itemsize
        for name, one in first.items():
            kernel = kernels[name if name in kernels else ""]
            contract(one, one if second is first else second[name], kernel[:, here, :, there], mixed=mixed)
        if self.x2 is None and here != there:
            for kernel in kernels.values():
                kernel[:, there, :, here] = kernel[:, here, :, there].permute(2, 3, 0, 1)

    def arranged(self, kernel: Tensor) -> Tensor:
        """The kernel in the shape of `empirical_ntk`; see `Layout.arranged`."""
        return self.layout.arranged(kernel, self.k)

    def stop_compressing(self, reason: CompressionFailed) -> None:
        """Continue with uncompressed calls, and log the reason."""
        assert isinstance(self.factors, RecordedFactors)
        logger.info("%s: the calls are used without compression", reason)
        self.factors = self.factors.without_compression(self.x1[self._share])
        self._rows_at_once = self._rows_that_fit()

    def report(self) -> KernelReport:
        """The method of computation, and the estimated errors of the kernels."""
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
        """Blocks (rows, columns); for a symmetric kernel those on and above the diagonal."""
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
        """Bytes of all kernels, and of one copy while their rows are reordered."""
        entries = self.layout.separate(self.k) ** 2 * len(self.x1) * len(self.columns)
        needed = (len(self._names) + 1) * entries * self.layout.dtype.itemsize
        if needed >= budget:
            raise ValueError(
                f"a kernel of {len(self.x1)} × {len(self.columns)} samples takes {needed} bytes, "
                f"more than max_bytes={budget}: raise it, use fewer samples or outputs='trace', or multiply "
                "by the kernel without forming it (ntkode.ntk.kernel_operator)"
            )
        return needed

    def _rows_that_fit(self) -> int:
        """Samples per block: all, or as many as let two blocks fit in a third of the remaining budget."""
        per_row = max(1, self.factors.bytes_per_row())
        rows = max(len(self.x1), len(self.columns))
        blocks = 1 if self.x2 is None else 2
        fitting = self._left // 3 // per_row
        return rows if blocks * rows <= fitting else max(1, fitting // 2)

    def _solver_error(self, solver: Solver) -> float:
        assert solver.steps is not None
        once, twice = (self._few(Solver(solver.method, steps=n * solver.steps)) for n in (1, 2))
        return float((once - twice).norm() / twice.norm())

    def _few(self, solver: Solver) -> Tensor:
        """The kernel of a few samples, computed with `solver`."""
        assert isinstance(self._model, ODEModel)
        options = Options(outputs="sum", dtype=torch.float64, max_bytes=SOLVER_BYTES)
        return Engine(self._model.solved_by(solver), self.x1[:SOLVER_ROWS], None, options).kernels()[""]


def _check(x1: Tensor, x2: Tensor | None) -> None:
    for x in (x1, x2):
        if x is not None and (x.ndim < 2 or len(x) == 0 or not x.isfinite().all()):
            raise ValueError(f"inputs of shape {tuple(x.shape)} must be (N, d) and finite, with N ≥ 1")
    if x2 is not None and x2.shape[1:] != x1.shape[1:]:
        raise ValueError(f"x1 has samples of shape {tuple(x1.shape[1:])}, x2 of {tuple(x2.shape[1:])}")
