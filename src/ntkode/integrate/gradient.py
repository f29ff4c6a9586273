"""The interface of the gradient methods of a Neural ODE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from ntkode.integrate.fields import CountedField
from ntkode.integrate.solver import Solver


class GradientMethod(Protocol):
    """A method that differentiates h(T) with respect to h(0) and the vector field's parameters.

    Classes may implement the interface with or without deriving from it.
    """

    def reversing(self, solver: Solver) -> Solver | None:
        """Solver that integrates the state backwards in the backward pass; None if none does (default)."""
        return None

    @property
    def exact(self) -> GradientMethod:
        """Method with the same forward solve and its exact derivative by autograd."""
        ...

    def check(self, solver: Solver, field: CountedField) -> None:
        """Check that the method supports this solver and vector field.

        Raises:
            ValueError: it does not; the message names both and the override to try.
        """
        ...

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m), from h(0) = `state`; autograd differentiates it by this method."""
        ...
