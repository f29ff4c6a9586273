"""Discretise-then-optimise: autograd through every stage of the forward solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torchdiffeq import odeint

from ntkode.integrate.fields import CountedField
from ntkode.integrate.gradient import GradientMethod
from ntkode.integrate.solver import Solver


@dataclass(frozen=True)
class Backprop(GradientMethod):
    """Exact derivative of the discrete solve by autograd; memory: steps × stages × state."""

    @property
    def exact(self) -> GradientMethod:
        """This method: it is exact for the discrete solve."""
        return self

    def check(self, solver: Solver, field: CountedField) -> None:
        """Accept every solver and field."""

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m); autograd records the solve; `parameters` is unused."""
        return solver.integrate(odeint, field, state, horizon)
