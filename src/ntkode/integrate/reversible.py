"""Algebraically reversible solve: exact gradients, and memory independent of the number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ntkode.integrate.fields import CountedField
from ntkode.integrate.first_order import first_order_only
from ntkode.integrate.gradient import GradientMethod
from ntkode.integrate.solver import Solver
from ntkode.integrate.stepping import Steps, require_one_step

# Bound on ε·c^(−steps), the relative rounding error of the states reconstructed in the backward pass (ε:
# machine epsilon of the dtype, c: coupling). Beyond it `Reversible.flow` refuses.
MAX_ROUNDING = 1e-2


@dataclass(frozen=True)
class Unrolled(GradientMethod):
    """Autograd through the steps of `Reversible`: the same gradient, with all stages in memory.

    With Ψ_s(t, h) the increment of one step of length s by the solver (McCallum & Foster 2024,
    arXiv 2410.11648, eq. 5), from y_0 = z_0 = h(0),

        y_{k+1} = c y_k + (1 − c) z_k + Ψ_s(t_k, z_k),    z_{k+1} = z_k − Ψ_{−s}(t_{k+1}, y_{k+1}),

    and h(T) is the last y, with the solver's order.

    Args:
        coupling: c, in (0, 1].

    Raises:
        ValueError: c is not in (0, 1].
    """

    coupling: float = 0.99

    def __post_init__(self) -> None:
        if not isinstance(self.coupling, int | float) or not 0 < self.coupling <= 1:
            raise ValueError(
                f"gradient.coupling={self.coupling} must be a number in (0, 1], as in gradient.coupling=0.99"
            )

    @property
    def exact(self) -> GradientMethod:
        """Autograd through the same steps, with the same coupling."""
        return Unrolled(self.coupling)

    def check(self, solver: Solver, field: CountedField) -> None:
        """Require a one-step method with fixed steps.

        Raises:
            ValueError: the solver is of another kind.
        """
        require_one_step(solver, "reversible", "adjoint")

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m); autograd records the steps."""
        final = self._ends(Steps(solver, field, state, horizon), field, state)[0]
        solver.check_finite(final, horizon)
        return final

    def _ends(self, steps: Steps, field: CountedField, state: Tensor) -> tuple[Tensor, Tensor]:
        y = z = state
        for start, end in pairwise(steps.times):
            y = self.coupling * y + (1 - self.coupling) * z + steps.increment(start, end, z)
            z = z - steps.increment(end, start, y)
            field.note_step()
        return y, z


@dataclass(frozen=True)
class Reversible(Unrolled):
    """Exact derivative of a reversible solve, whose steps are inverted one by one from its end.

    `Unrolled` defines the steps. Their inverse is explicit: the backward pass reconstructs every state up to
    rounding and differentiates each step. Cost: two increments per step, forwards and backwards; memory of
    one step. The adjoint needs as little memory, but its gradient is not that of the forward solve; recursive
    checkpointing gives the same gradient at log(steps) times the work. Among reversible solvers this one is
    stable and has the order of any one-step method (asynchronous leapfrog, MALI: order 2).
    The rounding error of the backward pass grows as c^(−steps): with hundreds of steps, use c closer to 1, or
    float64.
    """

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m), differentiable in `state` and `parameters`.

        Raises:
            ValueError: ε·c^(−steps) exceeds `MAX_ROUNDING`, with ε of the state's dtype.
        """
        assert solver.steps is not None
        if self.coupling**solver.steps < torch.finfo(state.dtype).eps / MAX_ROUNDING:
            raise ValueError(
                f"gradient.coupling={self.coupling} loses all digits of {state.dtype} backwards over "
                f"{solver.steps} steps: use gradient.coupling=0.999, or dtype=float64"
            )
        final: Tensor = _ReversibleSolve.apply(self, solver, field, horizon, state, *parameters)
        solver.check_finite(final, horizon)
        return first_order_only(final, "reversible")


class _ReversibleSolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        method: Reversible,
        solver: Solver,
        field: CountedField,
        horizon: float,
        state: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        steps = Steps(solver, field, state, horizon)
        y, z = method._ends(steps, field, state)
        ctx.save_for_backward(y, z, *parameters)  # autograd then detects changes in place
        ctx.parts = method.coupling, steps, field, parameters
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        y, z, *_ = ctx.saved_tensors
        c, steps, field, parameters = ctx.parts
        needed = [p for p in parameters if p.requires_grad]
        y_bar, z_bar = cotangents[0], torch.zeros_like(z)
        gradients = [torch.zeros_like(p) for p in needed]
        for end, start in pairwise(steps.times.flip(0)):
            # z = z_before − Ψ_back(y)
            back, pulled = _increment(steps, end, start, y, -z_bar, needed)
            z = z + back
            y_bar = y_bar + pulled[0]
            # y = c y_before + (1 − c) z_before + Ψ(z_before)
            ahead, onwards = _increment(steps, start, end, z, y_bar, needed)
            y = (y - (1 - c) * z - ahead) / c
            z_bar = z_bar + (1 - c) * y_bar + onwards[0]
            y_bar = c * y_bar
            for total, *parts in zip(gradients, pulled[1:], onwards[1:], strict=True):
                total += parts[0] + parts[1]
            field.note_step()
        remaining = iter(gradients)
        return (None,) * 4 + (
            y_bar + z_bar,
            *(next(remaining) if p.requires_grad else None for p in parameters),
        )


def _increment(
    steps: Steps, start: Tensor, end: Tensor, state: Tensor, cotangent: Tensor, parameters: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Ψ at `state`, and the products of the cotangent with ∂Ψ/∂state and with each ∂Ψ/∂parameter."""
    with torch.enable_grad():
        state = state.detach().requires_grad_()
        increment = steps.increment(start, end, state)
        products = torch.autograd.grad(
            increment, (state, *parameters), cotangent, materialize_grads=True, allow_unused=True
        )
    return increment.detach(), products
