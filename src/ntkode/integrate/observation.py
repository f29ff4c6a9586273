"""Counts of torchdiffeq's accepted and rejected steps, by its callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ntkode.integrate.fields import CountedField

if TYPE_CHECKING:
    from ntkode.integrate.solver import Solver


class Observed:
    """A field with torchdiffeq's step callbacks; each solver calls those that it supports.

    Args:
        field: F; it counts the steps.
        solver: solver of the forward pass.
        backward: solver of the adjoint; None if there is none.
    """

    def __init__(
        self,
        field: CountedField,
        solver: Solver,
        backward: Solver | None = None,
    ) -> None:
        self.field = field
        for one, suffix in ((solver, ""), (backward, "_adjoint")):
            if one is None:
                continue
            accept = "callback_accept_step" if one.adaptive else "callback_step"
            setattr(self, accept + suffix, self._accept)
            if one.adaptive:
                setattr(self, "callback_reject_step" + suffix, self._reject)

    def __call__(self, t: Tensor, h: Tensor) -> Tensor:
        """dh/dt = F(t, h), of the shape of h."""
        return self.field(t, h)

    def _accept(self, t: Tensor, h: Tensor, step: Tensor) -> None:
        self.field.note_step()

    def _reject(self, t: Tensor, h: Tensor, step: Tensor) -> None:
        self.field.note_step(accepted=False)
