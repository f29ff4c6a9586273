"""Optimise-then-discretise: the adjoint ODE, solved backwards together with the state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torchdiffeq import odeint_adjoint

from ntkode.integrate.backprop import Backprop
from ntkode.integrate.fields import CountedField
from ntkode.integrate.first_order import first_order_only
from ntkode.integrate.gradient import GradientMethod
from ntkode.integrate.solver import Solver


@dataclass(frozen=True)
class Adjoint:
    """The continuous adjoint dλ/dt = −(∂F/∂h)^T λ, solved backwards (Chen et al. 2018, arXiv 1806.07366).

    Memory does not grow with the number of steps. The state is integrated backwards from h(T), so the
    gradient differs from both the discrete and the continuous one by the solver's error.

    Args:
        backward: solver of the backward pass; None: that of the forward pass.

    Raises:
        ValueError: `backward` is neither None nor a `Solver`.
    """

    backward: Solver | None = None

    def __post_init__(self) -> None:
        if self.backward is not None and not isinstance(self.backward, Solver):
            raise ValueError(
                f"gradient.backward={self.backward} is not a solver: set solver@gradient.backward=dopri5"
            )

    def reversing(self, solver: Solver) -> Solver | None:
        """The solver of the backward pass, which also integrates the state."""
        return self.backward or solver

    @property
    def exact(self) -> GradientMethod:
        """Backpropagation, the exact derivative of the discrete forward solve."""
        return Backprop()

    def check(self, solver: Solver, field: CountedField) -> None:
        """Accept every solver and field."""

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m), differentiable in `state` and `parameters` by one solve backwards."""
        backward = self.backward or solver
        solve = partial(
            odeint_adjoint,
            adjoint_params=tuple(parameters),
            **self._settings(backward, solver.ends(state, horizon)),
        )
        final = solver.integrate(solve, field, state, horizon, backward=backward)
        return first_order_only(final, "adjoint")

    def _settings(self, backward: Solver, times: Tensor) -> dict[str, Any]:
        return {f"adjoint_{name}": value for name, value in backward.arguments(times).items()}


@dataclass(frozen=True)
class SeminormAdjoint(Adjoint):
    """Adjoint whose error norm excludes ∂L/∂θ (Kidger, Chen, Lyons 2021, arXiv 2009.09457).

    ∂L/∂θ is an integral whose error does not affect the solution; without it the adaptive backward solve
    takes fewer steps. Fixed-step solvers have no error norm, so the backward solver must be adaptive.
    """

    def check(self, solver: Solver, field: CountedField) -> None:
        """Require an adaptive backward solver.

        Raises:
            ValueError: the backward solver has fixed steps.
        """
        backward = self.backward or solver
        if not backward.adaptive:
            key = "solver" if self.backward is None else "solver@gradient.backward"
            raise ValueError(
                f"gradient=adjoint_seminorm needs an adaptive backward solver, and {backward} has fixed "
                f"steps: use {key}=dopri5, or gradient=adjoint"
            )

    def _settings(self, backward: Solver, times: Tensor) -> dict[str, Any]:
        settings = super()._settings(backward, times)
        settings["adjoint_options"]["norm"] = "seminorm"
        return settings
