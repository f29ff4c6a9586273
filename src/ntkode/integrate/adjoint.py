"""Optimise, then discretise: the adjoint ODE solved backwards beside the state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor
from torchdiffeq import odeint_adjoint

from ntkode.integrate.solver import Field, Solver


@dataclass(frozen=True)
class Adjoint:
    """The continuous adjoint dλ/dt = −(∂F/∂h)^T λ with the same solver (Chen et al. 2018, arXiv 1806.07366).

    Memory does not grow with the number of steps; the state is integrated backwards from h(T), so that
    the gradient is that of neither the discrete nor the continuous problem, up to the solver's error.
    """

    reverses_time: ClassVar[bool] = True

    def flow(
        self, solver: Solver, field: Field, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m), differentiable in `state` and `parameters` by one backward solve."""
        solve = partial(odeint_adjoint, adjoint_params=tuple(parameters))
        return solver.integrate(solve, field, state, horizon)
