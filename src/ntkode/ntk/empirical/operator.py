"""The full NTK of a training set as a matrix-free operator, for kernels too large to form."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn
from torch.func import functional_call, jvp

from ntkode.ntk.empirical.contraction import Factor, OuterProducts
from ntkode.ntk.empirical.factors import CompressionFailed, RecordedFactors
from ntkode.ntk.empirical.float32 import full_float32
from ntkode.ntk.empirical.layout import Layout
from ntkode.ntk.empirical.planning import product_numbers
from ntkode.ntk.empirical.precision import (
    TOLERANCE,
    differentiable_twin,
    free_bytes,
    output_count,
    solve_dtype,
)
from ntkode.ntk.empirical.recording import NotRecordableError, Recorder
from ntkode.ntk.lanczos import lanczos

logger = logging.getLogger("ntkode.ntk")


@dataclass(frozen=True)
class TraceEstimate:
    """A stochastic estimate of a trace.

    Attributes:
        value: the estimate.
        standard_error: standard error of the estimate, from its spread over the probes.
    """

    value: float
    standard_error: float


class KernelOperator(ABC):
    """Products v ↦ Θ v = J(J^T v) with J = ∂f/∂θ, (N·k, P), on N samples at fixed parameters.

    Attributes:
        samples: N, number of samples.
        outputs: k, number of outputs.
        device: device of the vectors.
    """

    samples: int
    outputs: int
    device: torch.device

    @abstractmethod
    def __call__(self, vector: Tensor) -> Tensor:
        """Θ v as a float64 tensor of shape (N, k), from v of the same shape."""

    def lambda_max(self, *, iterations: int = 30, seed: int = 0) -> float:
        """Largest eigenvalue by Lanczos from a random start: a lower bound that converges to it."""
        return lanczos(self, self._random(seed), iterations).lambda_max

    def trace(self, *, probes: int = 32, seed: int = 0) -> TraceEstimate:
        """tr Θ by Hutchinson's estimator (1990): the mean of z^T Θ z over random signs z.

        The relative error of one probe is about √2 ‖Θ‖_F / tr Θ.

        Raises:
            ValueError: there are fewer than two probes, so the error is unknown.
        """
        if probes < 2:
            raise ValueError(f"probes={probes}: a trace and its error need at least two")
        signs = [self._random(seed + j).sign() for j in range(probes)]
        values = torch.stack([(z * self(z)).sum() for z in signs])
        return TraceEstimate(float(values.mean()), float(values.std()) / math.sqrt(probes))

    def linear_operator(self) -> LinearOperator:
        """The operator for SciPy, on float64 vectors of length N·k, with the output as fast index."""

        def product(vector: np.ndarray) -> np.ndarray:
            v = torch.as_tensor(vector, dtype=torch.float64, device=self.device)
            return self(v.reshape(self.samples, self.outputs)).flatten().cpu().numpy()

        size = self.samples * self.outputs
        return LinearOperator((size, size), matvec=product, rmatvec=product, dtype="float64")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.samples} samples, {self.outputs} outputs, {self.device})"

    def _random(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        shape = (self.samples, self.outputs)
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(self.device)


class FactoredOperator(KernelOperator):
    """Products from stored, compressed calls: a few matrix products each.

    Args:
        factors: derivatives of all samples in a `Layout("full", …)`, by parameter name.
    """

    def __init__(self, factors: dict[str, Factor]) -> None:
        self._parts = [_Part(f) for f in factors.values()]
        self.samples, self.outputs = self._parts[0].shape
        self.device = self._parts[0].device

    def __call__(self, vector: Tensor) -> Tensor:
        """Θ v, shape (N, k), float64."""
        v = vector.to(self.device, torch.float64)
        return torch.stack([part(v) for part in self._parts]).sum(0)


class _Part:
    """Derivatives by one parameter, ordered so that a product reads each number twice, contiguously."""

    def __init__(self, factor: Factor) -> None:
        if isinstance(factor, OuterProducts):
            self._inputs: Tensor | None = factor.inputs.flatten(1, 2)  # (groups, T·N, p)
            g = factor.cotangents  # (groups, T, K, N, q) → (groups, N, K, T·q)
            self._cotangents = g.permute(0, 3, 2, 1, 4).flatten(3).contiguous()
            self._terms = g.shape[1]
        else:
            self._inputs = None
            self._cotangents = factor.values.transpose(0, 1).contiguous()[None]  # (1, N, K, size)
        self.shape = self._cotangents.shape[1:3]
        self.device = self._cotangents.device

    def __call__(self, v: Tensor) -> Tensor:
        weighted = (v[None, :, None, :] @ self._cotangents).squeeze(2)  # (groups, N, T·q)
        if self._inputs is None:
            return (self._cotangents[0] @ weighted[0].sum(0)[:, None]).squeeze(2)
        by_term = weighted.unflatten(2, (self._terms, -1)).transpose(1, 2)  # (groups, T, N, q)
        gradient = by_term.flatten(1, 2).mT @ self._inputs  # (groups, q, p)
        tangent = (self._inputs @ gradient.mT).unflatten(1, (self._terms, -1))  # (groups, T, N, q)
        tangent = tangent.transpose(1, 2).flatten(2)[..., None]
        return (self._cotangents @ tangent).squeeze(3).sum(0)


class AutogradOperator(KernelOperator):
    """Products by one backward pass (retained graph) and one forward-mode pass, for any model.

    Args:
        model: maps (N, …) to (N, k); its parameters are read once.
        x: inputs, in the parameters' dtype.
    """

    @full_float32()
    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self._model, self._x, self.device = model, x, x.device
        trained = ((n, p) for n, p in model.named_parameters() if p.requires_grad)
        self._parameters = {n: p.detach().clone().requires_grad_() for n, p in trained}
        with torch.enable_grad():
            self._output = self._forward(self._parameters)
        self.samples, self.outputs = self._output.shape

    @full_float32()
    @torch.enable_grad()
    def __call__(self, vector: Tensor) -> Tensor:
        """Θ v, shape (N, k), float64; computed in the model's dtype."""
        cotangent = vector.to(self._output)
        gradient = torch.autograd.grad(
            self._output,
            list(self._parameters.values()),
            cotangent,
            retain_graph=True,
            materialize_grads=True,
        )
        point = {n: p.detach() for n, p in self._parameters.items()}
        tangent = dict(zip(point, gradient, strict=True))
        product: Tensor = jvp(self._forward, (point,), (tangent,))[1]
        return product.double()

    def _forward(self, parameters: dict[str, Tensor]) -> Tensor:
        copy = self._x.clone()  # the model may change it
        output: Tensor = functional_call(self._model, parameters, (copy,))
        return output


@full_float32()
@torch.enable_grad()
def kernel_operator(
    model: nn.Module,
    x: Tensor,
    *,
    dtype: torch.dtype | None = None,
    tolerance: float | None = None,
    max_bytes: int | None = None,
) -> KernelOperator:
    """The full kernel of all rows of x and outputs, as an operator at the current parameters.

    If recorded calls fit in memory, they are compressed and stored, and a product costs a few matrix
    products. Otherwise, or if the model cannot be recorded, a product takes a backward and a forward pass.

    Args:
        model: see `empirical_ntk`; it is not changed.
        x: inputs of shape (N, …).
        dtype: dtype of the solve; None: that of the model. Stored derivatives are float64.
        tolerance: see `empirical_ntk`.
        max_bytes: bound on the stored derivatives in bytes; None: a quarter of the free memory.

    Raises:
        NonFiniteKernelError: a derivative is not finite.

    Example:
        >>> from ntkode.models import NeuralODE
        >>> from ntkode.ntk import empirical_ntk
        >>> model, x = NeuralODE(4, 32, activation="tanh").double(), torch.eye(4, dtype=torch.float64)
        >>> operator = kernel_operator(model, x)
        >>> largest = torch.linalg.eigvalsh(empirical_ntk(model, x))[-1].item()
        >>> abs(operator.lambda_max() / largest - 1) < 1e-6
        True
    """
    twin, _ = differentiable_twin(model, dtype)
    x = x.to(solve_dtype(model, x) if dtype is None else dtype)
    try:
        factors = _held(twin, x, tolerance, free_bytes(x.device) // 4 if max_bytes is None else max_bytes)
    except NotRecordableError as error:
        logger.info("kernel products use autograd: %s", error)
        factors = None
    return AutogradOperator(twin, x) if factors is None else FactoredOperator(factors)


def _held(twin: nn.Module, x: Tensor, tolerance: float | None, max_bytes: int) -> dict[str, Factor] | None:
    """Derivatives of all samples; None if they exceed the memory bound."""
    factors = RecordedFactors(
        Recorder(twin), output_count(twin, x), Layout("full", torch.float64), "auto",
        TOLERANCE[x.dtype] if tolerance is None else tolerance, product_numbers, max_bytes // 4,
    )  # fmt: skip
    factors.start(x)
    for _ in range(2):
        # Twice: as recorded, and in the order of products.
        if 2 * len(x) * factors.bytes_per_row() > max_bytes:
            return None
        try:
            return factors(x)
        except CompressionFailed:
            factors = factors.without_compression(x)
    return None
