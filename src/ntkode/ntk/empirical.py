"""The empirical Neural Tangent Kernel Θ(x, x') = Σ_θ ∂f(x)/∂θ · ∂f(x')/∂θ at the model's parameters."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, overload

import psutil
import torch
from torch import Tensor, nn

from ntkode.integrate import Solver
from ntkode.models import ODEModel
from ntkode.ntk.contraction import contract
from ntkode.ntk.factors import Choice, CompressionFailed, RecordedFactors
from ntkode.ntk.jacobian import JacobianFactors
from ntkode.ntk.layout import OUTPUTS, Layout, Outputs
from ntkode.ntk.recording import NotRecordableError, Recorder

logger = logging.getLogger("ntkode.ntk")

Method = Literal["auto", "pairs", "build", "compressed", "jacobian"]
METHODS: tuple[Method, ...] = ("auto", "pairs", "build", "compressed", "jacobian")
Factors = RecordedFactors | JacobianFactors
# Relative error of J_i that a compression may make: about what the solve itself makes in that precision.
# The kernel's is some 400 times smaller, the terms being orthogonal over the samples.
TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-12}
# Rounding of J_i by a solve, in units of ε: some tens of operations deep.
ROUNDINGS = 8
SOLVER_ROWS = 4


@dataclass(frozen=True)
class Report:
    """How a kernel was computed, and how well.

    Attributes:
        method: "recorded" or "jacobian".
        choices: by weight: calls, terms, contraction; empty for "jacobian".
        solve_dtype: of the forward and adjoint passes.
        rows_at_once: samples whose derivatives are held at a time.
        jacobian_error: relative error of J_i by rounding and compression; λ_min is known to its square
            (`spectrum` takes it).
        compression_error: the compression's share, measured on samples.
        coupling: relative derivative of an output by other samples of its batch.
        solver: the fixed-step solve that was differentiated, where the model's own is adaptive.
        solver_error: relative change of the kernel of some samples when that solve's steps are doubled.
    """

    method: str
    choices: dict[str, Choice]
    solve_dtype: torch.dtype
    rows_at_once: int
    jacobian_error: float
    compression_error: float = 0.0
    coupling: float = 0.0
    solver: str | None = None
    solver_error: float = 0.0


@dataclass(frozen=True)
class MeasuredKernel:
    """A kernel by parameter, with the report on its making.

    Attributes:
        blocks: by the parameter's name, or under "" the sum over all.
        report: how it was computed.
    """

    blocks: dict[str, Tensor]
    report: Report

    @property
    def kernel(self) -> Tensor:
        """The kernel over all parameters."""
        return torch.stack(list(self.blocks.values())).sum(0) if len(self.blocks) > 1 else self.blocks[""]


@overload
def empirical_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    method: Method = "auto",
    outputs: Outputs = "trace",
    blocks: Literal[False] = False,
    dtype: torch.dtype | None = None,
    tolerance: float | None = None,
    max_bytes: int | None = None,
) -> Tensor: ...


@overload
def empirical_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    method: Method = "auto",
    outputs: Outputs = "trace",
    blocks: Literal[True],
    dtype: torch.dtype | None = None,
    tolerance: float | None = None,
    max_bytes: int | None = None,
) -> dict[str, Tensor]: ...


def empirical_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    method: Method = "auto",
    outputs: Outputs = "trace",
    blocks: bool = False,
    dtype: torch.dtype | None = None,
    tolerance: float | None = None,
    max_bytes: int | None = None,
) -> Tensor | dict[str, Tensor]:
    """Θ between the rows of x1 and x2 (x1 itself unless given), over all trained parameters.

    An `ODEModel` is differentiated by backpropagation through a fixed-step solve: its own solver's, or
    RK4 in place of an adaptive one, whose steps would couple the samples. The model is not changed.

    Args:
        model: maps (N, …) to (N, k), each row by itself.
        x1: inputs of shape (N1, …).
        x2: inputs of shape (N2, …).
        method: `pairs` and `build` contract recorded calls (see `ntk.contraction`), `compressed` fewer
            terms that stand for them, `jacobian` takes one backward pass a sample and output and works for
            any model; `auto` takes what costs the fewest operations within the memory budget.
        outputs: `trace` = (1/k) Σ_c Θ_cc of shape (N1, N2); `full` of shape (N1·k, N2·k), with sample
            the slow and output the fast index; `sum` = Σ_{c,e} Θ_ce, shape (N1, N2).
        blocks: return each parameter's share by its name; they add up to the kernel.
        dtype: in which everything is computed. Unless given, the solve runs in the model's own dtype and
            all that follows in float64, which gives λ_min to 1e-6 at a condition of 1e6.
        tolerance: relative error of ∂f/∂θ that a compression may make, measured on samples: 3e-6 in
            float32 and 1e-12 in float64 unless given.
        max_bytes: memory to take, the kernel included; a quarter of what is free unless given.

    Returns:
        The kernel, on the inputs' device, in float64 unless `dtype` says otherwise.

    Raises:
        ValueError: an unknown method or outputs, inputs that are not finite or of unequal shape, or a
            budget that does not hold the kernel.
        NotRecordableError: any method but `auto` and `jacobian` on a model with other than recorded calls.
        NonFiniteKernelError: a derivative that is not finite.
    """
    measured = measure_ntk(
        model, x1, x2, method=method, outputs=outputs, blocks=blocks, dtype=dtype, tolerance=tolerance,
        max_bytes=max_bytes,
    )  # fmt: skip
    return measured.blocks if blocks else measured.kernel


def measure_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    method: Method = "auto",
    outputs: Outputs = "trace",
    blocks: bool = False,
    dtype: torch.dtype | None = None,
    tolerance: float | None = None,
    max_bytes: int | None = None,
) -> MeasuredKernel:
    """The same as `empirical_ntk`, with a report on how it was computed and how well."""
    engine = Engine(
        model, x1, x2, method=method, outputs=outputs, dtype=dtype, tolerance=tolerance, max_bytes=max_bytes,
        blocks=blocks,
    )  # fmt: skip
    try:
        kernels = engine.kernels()
    except CompressionFailed:
        engine.stop_compressing()
        kernels = engine.kernels()
    return MeasuredKernel({name: engine.arranged(k) for name, k in kernels.items()}, engine.report())


class Engine:
    """One kernel's computation: inputs checked, the way chosen, rows in blocks within the budget.

    Arguments are those of `empirical_ntk`.
    """

    def __init__(
        self,
        model: nn.Module,
        x1: Tensor,
        x2: Tensor | None,
        *,
        method: Method,
        outputs: Outputs,
        dtype: torch.dtype | None,
        tolerance: float | None,
        max_bytes: int | None,
        blocks: bool,
    ) -> None:
        _check(x1, x2, method, outputs, dtype, tolerance)
        self._own = model
        self._twin, self._solver = differentiable_twin(model, dtype)
        self._solve_dtype = next((p.dtype for p in model.parameters()), x1.dtype) if dtype is None else dtype
        self._tolerance = TOLERANCE[self._solve_dtype] if tolerance is None else tolerance
        self.x1 = x1.to(self._solve_dtype)
        self.x2 = None if x2 is None else x2.to(self._solve_dtype)
        with torch.no_grad():
            self.k = self._twin(self.x1[:1]).shape[1]
        self.layout = Layout(outputs, dtype or torch.float64)
        self._names = [n for n, p in model.named_parameters() if p.requires_grad] if blocks else [""]
        self._max_bytes = free_bytes(x1.device) // 4 if max_bytes is None else max_bytes
        self._budget = self._max_bytes - self._kernel_bytes()
        self.factors = self._chosen(method)
        self._rows_at_once = self._rows_that_fit()

    @property
    def mixed(self) -> bool:
        """Whether the solve is coarser than the kernel: light terms then need no better product."""
        return self._solve_dtype.itemsize < self.layout.dtype.itemsize

    def kernels(self) -> dict[str, Tensor]:
        """Kernels of shape (M, N1, M, N2), by parameter or of all under ""."""
        kernels = {name: self.zeros(len(self.x1), len(self._columns)) for name in self._names}
        for here, there in self._blocks():
            first = self.factors(self.x1[here])
            second = first if self.x2 is None and here == there else self.factors(self._columns[there])
            self.add(kernels, first, second, here, there)
            if self.x2 is None and here != there:
                for kernel in kernels.values():
                    kernel[:, there, :, here] = kernel[:, here, :, there].permute(2, 3, 0, 1)
        return kernels

    def zeros(self, rows: int, columns: int) -> Tensor:
        """An empty kernel of that many samples."""
        m = self.layout.separate(self.k)
        return torch.zeros(m, rows, m, columns, dtype=self.layout.dtype, device=self.x1.device)

    def add(self, kernels: dict[str, Tensor], first: dict, second: dict, here: slice, there: slice) -> None:
        """Add the kernel of two blocks of samples in its place."""
        for name, one in first.items():
            kernel = kernels[name if name in kernels else ""]
            two = one if second is first else second[name]
            contract(one, two, kernel[:, here, :, there], mixed=self.mixed)

    def arranged(self, kernel: Tensor) -> Tensor:
        """A kernel as users see it."""
        return self.layout.arranged(kernel, self.k)

    def stop_compressing(self) -> None:
        """Take all calls as they are from now on."""
        assert isinstance(self.factors, RecordedFactors)
        self.factors = self.factors.without_compression()
        self.factors.start(self.x1)
        self._rows_at_once = self._rows_that_fit()

    def report(self) -> Report:
        """How the kernel was computed, and how well."""
        solver = None if self._solver is None else str(self._solver)
        rounding = ROUNDINGS * torch.finfo(self._solve_dtype).eps
        if not isinstance(self.factors, RecordedFactors):
            return Report("jacobian", {}, self._solve_dtype, self._rows_at_once, rounding, solver=solver,
                          solver_error=self._solver_error())  # fmt: skip
        choices = self.factors.choices
        tail = max([choice.tail for choice in choices.values()] + [self.factors.compression_error])
        return Report(
            "recorded", choices, self._solve_dtype, self._rows_at_once, max(rounding, tail),
            self.factors.compression_error, self.factors.coupling, solver, self._solver_error(),
        )  # fmt: skip

    @property
    def _columns(self) -> Tensor:
        return self.x1 if self.x2 is None else self.x2

    def _chosen(self, method: Method) -> Factors:
        if method != "jacobian":
            try:
                return self._recorded(method)
            except NotRecordableError as error:
                if method != "auto":
                    raise
                logger.info("kernel by method=jacobian: %s", error)
        return JacobianFactors(self._twin, self.k, self.layout)

    def _recorded(self, method: Method) -> RecordedFactors:
        factors = RecordedFactors(
            Recorder(self._twin), self.k, self.layout, method, self._tolerance,
            (len(self.x1), len(self._columns)), self._budget,
        )  # fmt: skip
        factors.start(self.x1)
        return factors

    def _kernel_bytes(self) -> int:
        """Of the kernels and of one more while they are summed and put in order."""
        entries = self.layout.separate(self.k) ** 2 * len(self.x1) * len(self._columns)
        needed = (len(self._names) + 1) * entries * self.layout.dtype.itemsize
        if needed >= self._max_bytes:
            raise ValueError(
                f"a kernel of {len(self.x1)} × {len(self._columns)} samples takes {needed / 2**20:.0f} MiB, the "
                f"budget is max_bytes={self._max_bytes}: raise it, take fewer samples or outputs='trace', or "
                "multiply with it unformed by ntkode.ntk.kernel_operator"
            )
        return needed

    def _rows_that_fit(self) -> int:
        """Samples a block: all, or as many as let two blocks lie within what the kernel leaves."""
        a_row = max(1, self.factors.bytes_a_row())
        rows = max(len(self.x1), len(self._columns))
        blocks = 1 if self.x2 is None else 2
        if blocks * rows * a_row <= self._budget // 2:
            return rows
        return max(1, self._budget // 2 // (2 * a_row))

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """Blocks of rows and columns; of a symmetric kernel those on and above the diagonal."""
        size = self._rows_at_once
        for start in range(0, len(self.x1), size):
            for other in range(start if self.x2 is None else 0, len(self._columns), size):
                yield slice(start, start + size), slice(other, other + size)

    def _solver_error(self) -> float:
        if self._solver is None:
            return 0.0
        assert isinstance(self._own, ODEModel)
        assert self._solver.steps is not None
        finer = self._own.solved_by(Solver(self._solver.method, steps=2 * self._solver.steps))
        few = self.x1[:SOLVER_ROWS]
        once, twice = (empirical_ntk(m, few, outputs="sum", dtype=torch.float64) for m in (self._twin, finer))
        return float((once - twice).norm() / twice.norm())


def differentiable_twin(model: nn.Module, dtype: torch.dtype | None) -> tuple[nn.Module, Solver | None]:
    """A copy to differentiate, in `dtype`, and the fixed-step solver put in place of an adaptive one."""
    solver = None
    if isinstance(model, ODEModel):
        fixed = model.solver.fixed_twin(model.scaled_horizon)
        solver = None if fixed is model.solver else fixed
        model = model.solved_by(fixed)
    twin = copy.deepcopy(model)
    return (twin if dtype is None else twin.to(dtype)), solver


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def _check(
    x1: Tensor,
    x2: Tensor | None,
    method: str,
    outputs: str,
    dtype: torch.dtype | None,
    tolerance: float | None,
) -> None:
    for name, value, known in (("method", method, METHODS), ("outputs", outputs, OUTPUTS)):
        if value not in known:
            raise ValueError(f"{name}={value!r} must be one of {', '.join(known)}")
    if dtype not in (None, *TOLERANCE):
        raise ValueError(
            f"dtype={dtype} must be torch.float32 or torch.float64, or None for the mixed policy"
        )
    if tolerance is not None and not 0 < tolerance < 1:
        raise ValueError(f"tolerance={tolerance} must lie between 0 and 1, as in tolerance=1e-6")
    for x in (x1, x2):
        if x is not None and (x.ndim < 2 or len(x) == 0 or not x.isfinite().all()):
            raise ValueError(f"inputs of shape {tuple(x.shape)} must be (N, d) and finite, with N ≥ 1")
    if x2 is not None and x2.shape[1:] != x1.shape[1:]:
        raise ValueError(f"x1 has samples of shape {tuple(x1.shape[1:])}, x2 of {tuple(x2.shape[1:])}")
