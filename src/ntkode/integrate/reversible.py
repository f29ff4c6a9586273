"""An algebraically reversible solve: exact gradients, and memory that does not grow with the steps."""

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
from ntkode.integrate.stepping import Steps
from ntkode.integrate.tableaux import TABLEAUX

# Largest relative error by rounding that the backward pass may accumulate.
MOST_ROUNDING = 1e-2


@dataclass(frozen=True)
class Unrolled:
    """Autograd through the steps of `Reversible`: the same gradient, with all stages in memory.

    With Ψ_s(t, h) the increment of one step of length s by the solver (McCallum & Foster 2024,
    arXiv 2410.11648, eq. 5), from y_0 = z_0 = h(0),

        y_{k+1} = c y_k + (1 − c) z_k + Ψ_s(t_k, z_k),    z_{k+1} = z_k − Ψ_{−s}(t_{k+1}, y_{k+1}),

    and y at the end is h(T), of the solver's order.

    Args:
        coupling: c, in (0, 1].

    Raises:
        ValueError: c is out of range.
    """

    coupling: float = 0.99

    def __post_init__(self) -> None:
        if not isinstance(self.coupling, int | float) or not 0 < self.coupling <= 1:
            raise ValueError(
                f"gradient.coupling={self.coupling} must be a number in (0, 1], as in gradient.coupling=0.99"
            )

    def reversing(self, solver: Solver) -> Solver | None:
        """None: states are rebuilt by algebra, to rounding."""
        return None

    @property
    def exact(self) -> GradientMethod:
        """Autograd through the same steps."""
        return Unrolled(self.coupling)

    def check(self, solver: Solver, field: CountedField) -> None:
        """The solver must be a one-step method with fixed steps.

        Raises:
            ValueError: it is another one.
        """
        if solver.method not in TABLEAUX:
            raise ValueError(
                f"gradient=reversible couples single steps of fixed size, which {solver} has not: "
                f"take solver={', solver='.join(TABLEAUX)}, or gradient=adjoint"
            )

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
    """The exact derivative of a solve that can be undone, step by step, from its end.

    `Unrolled` has the steps. Their inverse is explicit, so that the backward pass rebuilds every state to
    rounding and differentiates each step as it goes. It costs two increments a step each way, in memory of
    one step. The adjoint saves as much memory, but its gradient is not the forward solve's; recursive
    checkpointing gives the right one for log(steps) times the work. Among reversible solvers this one has the
    order of any one-step method (asynchronous leapfrog, MALI, is of order 2) and is stable.
    Rounding grows as c^(−steps) in the backward pass: for hundreds of steps take c nearer to 1, or float64.
    """

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m), differentiable in `state` and `parameters`.

        Raises:
            ValueError: the coupling is too loose for so many steps in the state's dtype.
        """
        assert solver.steps is not None
        if self.coupling**solver.steps < torch.finfo(state.dtype).eps / MOST_ROUNDING:
            raise ValueError(
                f"gradient.coupling={self.coupling} loses all digits of {state.dtype} backwards over "
                f"{solver.steps} steps: gradient.coupling=0.999, or dtype=float64"
            )
        final: Tensor = _Undone.apply(self, solver, field, horizon, state, *parameters)
        solver.check_finite(final, horizon)
        return first_order_only(final, "reversible")


class _Undone(torch.autograd.Function):
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
        ctx.save_for_backward(y, z, *parameters)  # autograd then sees to it that nobody changes these
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
    """Ψ at `state`, and its products of the cotangent with ∂Ψ/∂state and with each ∂Ψ/∂parameter."""
    with torch.enable_grad():
        state = state.detach().requires_grad_()
        increment = steps.increment(start, end, state)
        products = torch.autograd.grad(
            increment, (state, *parameters), cotangent, materialize_grads=True, allow_unused=True
        )
    return increment.detach(), products
