"""What every gradient method of a Neural ODE offers, and the count of its function evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from ntkode.integrate.solver import Field, Solver


class GradientMethod(Protocol):
    """A way to differentiate h(T) with respect to h(0) and the vector field's parameters."""

    @property
    def reverses_time(self) -> bool:
        """Whether the backward pass integrates the state backwards."""
        ...

    def flow(
        self, solver: Solver, field: Field, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m), from h(0) = `state`, such that autograd differentiates it by this method."""
        ...


class CountedField:
    """A vector field F(t, h) that counts its evaluations (NFE), one for the whole batch.

    Attributes:
        forward: evaluations of the forward solve, set by `end_forward`.
        count: all evaluations so far.
    """

    def __init__(self, field: Field) -> None:
        self.field = field
        self.count = 0
        self.forward = 0

    def __call__(self, t: Tensor, h: Tensor) -> Tensor:
        """F(t, h), counted."""
        self.count += 1
        return self.field(t, h)

    def end_forward(self) -> None:
        """Say that what follows belongs to the backward pass."""
        self.forward = self.count

    @property
    def backward(self) -> int:
        """Evaluations of F, each with its vector–Jacobian product, in the backward pass.

        An adjoint method evaluates F anew; backpropagation runs one product for each forward evaluation.
        """
        return self.count - self.forward or self.forward
