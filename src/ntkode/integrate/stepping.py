"""Single steps of a fixed-step solve, for gradient methods that repeat or invert them.

torchdiffeq's solvers compute the increment of a step by the private method `_step_func`. Only this module
uses it, and tests compare the steps with whole solves.
"""

from __future__ import annotations

import warnings
from collections import deque
from typing import Any

from torch import Tensor
from torchdiffeq._impl.odeint import SOLVERS

from ntkode.integrate.fields import CountedField
from ntkode.integrate.solver import Solver
from ntkode.integrate.tableaux import TABLEAUX


class Steps:
    """The steps of a fixed-step solver over [0, T].

    Args:
        solver: a fixed-step solver.
        field: the vector field F.
        state: h(0), shape (N, m).
        horizon: T; the interval is [0, T].

    Attributes:
        times: the grid, shape (steps + 1,).
    """

    def __init__(self, solver: Solver, field: CountedField, state: Tensor, horizon: float) -> None:
        arguments = solver.arguments(ends := solver.ends(state, horizon))
        options = arguments["options"]
        self.times: Tensor = options["grid_constructor"](field, state, ends)
        self._field = field
        self._multistep = solver.method not in TABLEAUX
        self._newest: dict[int, Tensor | None] = {0: None}  # time of the newest derivative before a step
        tolerances = {name: arguments.get(name, 0.0) for name in ("rtol", "atol")}
        self._solver = SOLVERS[solver.method](func=self._evaluate, y0=state, **tolerances)

    def increment(self, start: Tensor, end: Tensor, state: Tensor) -> Tensor:
        """h(end) − h(start) by one step of a method in `TABLEAUX`; backwards in time if end < start."""
        increment: Tensor = self._solver._step_func(self._evaluate, start, end - start, end, state)[0]
        return increment

    def advance(self, number: int, state: Tensor, *history: Tensor) -> tuple[Tensor, ...]:
        """(h, *history) after step `number` (counted from 0), from (h, *history) before it.

        The history of a multistep method holds dh/dt at earlier times, newest first.
        """
        if self._multistep:
            self._solver.prev_f = deque(history, maxlen=self._solver.max_order - 1)
            self._solver.prev_t = self._newest[number]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Functional iteration did not converge")
            after = state + self.increment(self.times[number], self.times[number + 1], state)
        if not self._multistep:
            return (after,)
        self._newest[number + 1] = self._solver.prev_t
        return (after, *self._solver.prev_f)

    def _evaluate(self, t: Tensor, h: Tensor, **_: Any) -> Tensor:
        return self._field(t, h)


def require_one_step(solver: Solver, name: str, alternative: str) -> None:
    """Check that the solver is a one-step method with fixed steps.

    Args:
        solver: the solver.
        name: name in conf/gradient of the method that needs it, for the message.
        alternative: gradient method that the message suggests.

    Raises:
        ValueError: the solver is of another kind.
    """
    if solver.method not in TABLEAUX:
        raise ValueError(
            f"gradient={name} needs a one-step method with fixed steps, not {solver}: "
            f"use solver={', solver='.join(TABLEAUX)}, or gradient={alternative}"
        )
