"""Vector fields as solvers and gradient methods see them: with what they cost, and with their layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from ntkode.activations import Activation

Field = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Pass:
    """What one pass of a solve has cost.

    Attributes:
        evaluations: of the vector field, one for the whole batch (NFE); in a backward pass each of them with
            its vector–Jacobian product.
        accepted: steps taken.
        rejected: steps tried and given up, by adaptive solvers only.
    """

    evaluations: int = 0
    accepted: int = 0
    rejected: int = 0


@dataclass
class SolveCost:
    """What a solve and its derivative have cost.

    Attributes:
        forward: the forward pass.
        repeated: evaluations and steps that the backward pass makes itself.
    """

    forward: Pass = field(default_factory=Pass)
    repeated: Pass = field(default_factory=Pass)

    @property
    def backward(self) -> Pass:
        """The backward pass; by autograd through the solve, a product for each evaluation of the forward.

        That counts a few products too many where an adaptive solver has rejected steps.
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
        cost: so far.
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
        """Say that what follows belongs to the backward pass."""
        self._pass = self.cost.repeated

    def note_evaluations(self, count: int) -> None:
        """Count evaluations, or products with ∂F/∂h, that are made from the field's parts."""
        self._pass.evaluations += count

    def note_step(self, *, accepted: bool = True) -> None:
        """Count a step of the present pass."""
        if accepted:
            self._pass.accepted += 1
        else:
            self._pass.rejected += 1


class LayeredField(CountedField):
    """F(t, h) = outer(φ(inner(t, h))), both maps affine (`inner` in h), with linear parts that no t changes.

    Args:
        inner: (t, h) ↦ what φ is applied to.
        activation: φ.
        outer: φ's values ↦ dh/dt.
    """

    def __init__(self, inner: Field, activation: Activation, outer: Callable[[Tensor], Tensor]) -> None:
        super().__init__(lambda t, h: outer(activation(inner(t, h))))
        self.inner = inner
        self.activation = activation
        self.outer = outer
