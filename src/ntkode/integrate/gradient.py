"""What every gradient method of a Neural ODE offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from ntkode.integrate.fields import CountedField
from ntkode.integrate.solver import Solver


class GradientMethod(Protocol):
    """A method to differentiate h(T) with respect to h(0) and the vector field's parameters."""

    def reversing(self, solver: Solver) -> Solver | None:
        """The solver that rebuilds the state backwards in the backward pass, and may stray; None for none."""
        ...

    @property
    def exact(self) -> GradientMethod:
        """A method with the same forward solve that gives its exact derivative, by autograd."""
        ...

    def check(self, solver: Solver, field: CountedField) -> None:
        """Whether the method goes with this solver and vector field.

        Raises:
            ValueError: it does not; the message names both and the override to try.
        """
        ...

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m), from h(0) = `state`, such that autograd differentiates it by this method."""
        ...
