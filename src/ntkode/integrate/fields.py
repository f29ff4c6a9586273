"""Vector fields for solvers and gradient methods: with counters of their cost, and with their layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from ntkode.activations import Activation

Field = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Pass:
    """Cost of one pass of a solve.

    Attributes:
        evaluations: number of evaluations of the vector field, each for the whole batch (NFE); in a backward
            pass each includes its vector–Jacobian product.
        accepted: number of accepted steps.
        rejected: number of rejected steps; 0 for fixed-step solvers.
    """

    evaluations: int = 0
    accepted: int = 0
    rejected: int = 0


@dataclass
class SolveCost:
    """Cost of a solve and of its derivative.

    Attributes:
        forward: cost of the forward pass.
        repeated: evaluations and steps computed during the backward pass.
    """

    forward: Pass = field(default_factory=Pass)
    repeated: Pass = field(default_factory=Pass)

    @property
    def backward(self) -> Pass:
        """Cost of the backward pass; for autograd through the solve, one product per forward evaluation.

        That overestimates the products slightly if an adaptive solver rejected steps.
        """
        again = self.repeated
        return Pass(
            again.evaluations or self.forward.evaluations,
            again.accepted or self.forward.accepted,
            again.rejected,
        )


class CountedField:
    """A vector field F(t, h) that counts its evaluations and the solver's steps.

    Args:
        field: F.

    Attributes:
        cost: counts since construction.
    """

    def __init__(self, field: Field) -> None:
        self.field = field
        self.cost = SolveCost()
        self._pass = self.cost.forward

    def __call__(self, t: Tensor, h: Tensor) -> Tensor:
        """F(t, h), shape (N, m), counted as one evaluation."""
        self._pass.evaluations += 1
        return self.field(t, h)

    def end_forward(self) -> None:
        """Count from now on for the backward pass."""
        self._pass = self.cost.repeated

    def note_evaluations(self, count: int) -> None:
        """Add evaluations, or products with ∂F/∂h, computed outside `__call__` from the field's layers."""
        self._pass.evaluations += count

    def note_step(self, *, accepted: bool = True) -> None:
        """Count a step of the current pass."""
        if accepted:
            self._pass.accepted += 1
        else:
            self._pass.rejected += 1


class LayeredField(CountedField):
    """F(t, h) = outer(φ(inner(t, h))), both maps affine (`inner` in h), with linear parts independent of t.

    Args:
        inner: (t, h) ↦ z, the argument of φ, shape (N, units).
        activation: the elementwise function φ.
        outer: φ(z) ↦ dh/dt, shape (N, m).
    """

    def __init__(self, inner: Field, activation: Activation, outer: Callable[[Tensor], Tensor]) -> None:
        super().__init__(lambda t, h: outer(activation(inner(t, h))))
        self.inner = inner
        self.activation = activation
        self.outer = outer
