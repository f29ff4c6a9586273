"""What torchdiffeq tells of the steps that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ntkode.integrate.fields import CountedField, Field

if TYPE_CHECKING:
    from ntkode.integrate.solver import Solver


class Observed:
    """A field with the callbacks by which torchdiffeq tells of its steps; each solver knows its own ones.

    Args:
        field: F; a `CountedField` counts the steps.
        solver: of the forward pass.
        backward: of the adjoint's solve, if there is one.
        keep: where to put (t, h) of every accepted step's start.
    """

    def __init__(
        self,
        field: Field,
        solver: Solver,
        backward: Solver | None = None,
        keep: list[tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.field = field
        self.keep = keep
        for one, suffix in ((solver, ""), (backward, "_adjoint")):
            if one is None:
                continue
            accept = "callback_accept_step" if one.adaptive else "callback_step"
            setattr(self, accept + suffix, self._accept)
            if one.adaptive:
                setattr(self, "callback_reject_step" + suffix, self._reject)

    def __call__(self, t: Tensor, h: Tensor) -> Tensor:
        """F(t, h)."""
        return self.field(t, h)

    def _accept(self, t: Tensor, h: Tensor, step: Tensor) -> None:
        if self.keep is not None:
            self.keep.append((t, h))
        if isinstance(self.field, CountedField):
            self.field.note_step()

    def _reject(self, t: Tensor, h: Tensor, step: Tensor) -> None:
        if isinstance(self.field, CountedField):
            self.field.note_step(accepted=False)
