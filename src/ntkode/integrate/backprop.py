"""Discretise, then optimise: autograd through every stage of the forward solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torchdiffeq import odeint

from ntkode.integrate.solver import Field, Solver


@dataclass(frozen=True)
class Backprop:
    """The exact derivative of the discrete solve; memory grows with steps × stages × state."""

    reverses_time: ClassVar[bool] = False

    def flow(
        self, solver: Solver, field: Field, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m); autograd records the solve, so `parameters` need not be named."""
        return solver.integrate(odeint, field, state, horizon)
