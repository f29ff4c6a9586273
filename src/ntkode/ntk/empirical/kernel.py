"""The empirical Neural Tangent Kernel Θ(x, x') = Σ_θ ∂f(x)/∂θ · ∂f(x')/∂θ at the model's parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from ntkode.ntk.empirical.engine import Engine, KernelReport, Method, Options
from ntkode.ntk.empirical.float32 import full_float32
from ntkode.ntk.empirical.layout import Outputs
from ntkode.ntk.spectrum import Spectrum, spectrum


@dataclass(frozen=True)
class MeasuredKernel:
    """A kernel with the report on its computation.

    Attributes:
        blocks: the kernel of each parameter by name, or the kernel over all parameters under "".
        report: method of computation, and estimated errors.
    """

    blocks: dict[str, Tensor] = field(repr=False)
    report: KernelReport

    @property
    def kernel(self) -> Tensor:
        """The kernel over all parameters: the sum of the blocks."""
        first, *others = self.blocks.values()
        return sum(others, first)

    @property
    def spectrum(self) -> Spectrum:
        """The spectrum of the kernel, with a resolution that includes the error of ∂f/∂θ.

        Raises:
            ValueError: the kernel is between two sets of inputs.
        """
        return spectrum(self.kernel, jacobian_error=self.report.jacobian_error)


@overload
def empirical_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = ...,
    *,
    method: Method = ...,
    outputs: Outputs = ...,
    blocks: Literal[False] = ...,
    dtype: torch.dtype | None = ...,
    tolerance: float | None = ...,
    max_bytes: int | None = ...,
) -> Tensor: ...
@overload
def empirical_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = ...,
    *,
    method: Method = ...,
    outputs: Outputs = ...,
    blocks: Literal[True],
    dtype: torch.dtype | None = ...,
    tolerance: float | None = ...,
    max_bytes: int | None = ...,
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
    """Empirical NTK Θ between the rows of x1 and x2 (default: x1), over all trained parameters.

    An `ODEModel` is differentiated by backpropagation through a fixed-step solve: that of its solver, or
    RK4 instead of an adaptive solver, whose steps would couple the samples (`measure_ntk` reports the error).
    The model is not changed.

    Args:
        model: maps (N, …) to (N, k), each row by itself.
        x1: inputs of shape (N1, …).
        x2: inputs of shape (N2, …).
        method: `pairs` and `build` contract recorded calls (see `contraction`); `compressed` contracts fewer
            terms that replace them (see `compression`); `jacobian` takes one backward pass per sample and
            output, for any model; `auto` selects the method with the fewest operations within the memory
            budget.
        outputs: `trace` = (1/k) Σ_c Θ_cc of shape (N1, N2); `full` of shape (N1·k, N2·k), with the
            sample as slow and the output as fast index; `sum` = Σ_{c,e} Θ_ce, shape (N1, N2).
        blocks: return the kernel of each parameter by name; their sum is the kernel.
        dtype: dtype of all computations. None: the solve runs in the model's dtype and the rest in float64,
            which gives λ_min to 1e-5 at a condition number of 1e6.
        tolerance: bound on the relative error of ∂f/∂θ by compression, checked on every sample; None: 3e-6
            with a float32 solve and 1e-12 with float64, each below the rounding of the solve.
        max_bytes: memory bound in bytes, kernel included; None: a quarter of the free memory.

    Returns:
        The kernel on the device of the inputs, in `dtype` or float64; with `blocks`, a dict of kernels.

    Raises:
        ValueError: the method or outputs are unknown, the inputs are not finite or have unequal shapes, or
            the budget is smaller than the kernel.
        NotRecordableError: the model uses parameters in other calls than recorded ones, and the method is
            neither `auto` nor `jacobian`.
        NonFiniteKernelError: a derivative is not finite.

    Example:
        >>> from ntkode.models import NeuralODE
        >>> x = torch.eye(4)
        >>> model = NeuralODE(4, 32, 2, activation="tanh")
        >>> kernel = empirical_ntk(model, x)
        >>> kernel.shape, kernel.dtype
        (torch.Size([4, 4]), torch.float64)
        >>> empirical_ntk(model, x, outputs="full").shape
        torch.Size([8, 8])
        >>> sorted(empirical_ntk(model, x, blocks=True))
        ['U', 'W', 'v']
    """
    options = Options(method, outputs, blocks, dtype, tolerance, max_bytes)
    measured = _measured(model, x1, x2, options)
    return measured.blocks if blocks else measured.kernel


def measure_ntk(model: nn.Module, x1: Tensor, x2: Tensor | None = None, **options: Any) -> MeasuredKernel:
    """The kernel of `empirical_ntk` with a report on its method and errors.

    Arguments, keywords and errors are those of `empirical_ntk`.

    Example:
        >>> from ntkode.models import NeuralODE
        >>> measured = measure_ntk(NeuralODE(4, 32, activation="tanh"), torch.eye(4))
        >>> measured.report.method, measured.report.solve_dtype
        ('recorded', torch.float32)
        >>> measured.spectrum.lambda_min > measured.spectrum.resolution
        True
    """
    return _measured(model, x1, x2, Options(**options))


@full_float32()
@torch.enable_grad()
def _measured(model: nn.Module, x1: Tensor, x2: Tensor | None, options: Options) -> MeasuredKernel:
    engine = Engine(model, x1, x2, options)
    kernels = engine.kernels()
    return MeasuredKernel(
        {name: engine.arranged(kernel) for name, kernel in kernels.items()}, engine.report()
    )
