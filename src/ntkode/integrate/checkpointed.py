"""Backpropagation that stores the state at every step and recomputes the stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ntkode.integrate.backprop import Backprop
from ntkode.integrate.fields import CountedField
from ntkode.integrate.gradient import GradientMethod
from ntkode.integrate.solver import Solver
from ntkode.integrate.stepping import Steps


@dataclass(frozen=True)
class Checkpointed(GradientMethod):
    """Exact derivative of the discrete solve; memory: steps × state, not steps × stages × state.

    The backward pass repeats each step and differentiates it (Gholami, Keutzer, Biros 2019, ANODE,
    arXiv 1902.10298); the extra cost is one forward pass. Fixed-step solvers only, because the steps must be
    known in advance.
    """

    @property
    def exact(self) -> GradientMethod:
        """Backpropagation, equal to this method up to rounding."""
        return Backprop()

    def check(self, solver: Solver, field: CountedField) -> None:
        """Require a fixed-step solver.

        Raises:
            ValueError: the solver is adaptive.
        """
        if solver.adaptive:
            raise ValueError(
                f"gradient=checkpointed needs fixed steps, and {solver} is adaptive: "
                "use solver=rk4, or gradient=adjoint, whose memory does not grow with the steps either"
            )

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m); autograd records the steps, with checkpoints between them."""
        steps = Steps(solver, field, state, horizon)
        versions = [parameter._version for parameter in parameters]

        def advance(number: int, *before: Tensor) -> tuple[Tensor, ...]:
            if versions != [parameter._version for parameter in parameters]:
                raise RuntimeError(
                    "a parameter was changed in place between the forward and the backward pass"
                )
            return steps.advance(number, *before)

        carried: tuple[Tensor, ...] = (state,)
        for number in range(len(steps.times) - 1):
            carried = checkpoint(advance, number, *carried, use_reentrant=False, preserve_rng_state=False)
            field.note_step()
        solver.check_finite(carried[0], horizon)
        return carried[0]
