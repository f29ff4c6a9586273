"""Typed failures of an ODE solve, translated from torchdiffeq's assertions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class SolverFailure(RuntimeError):
    """An ODE solve that could not be carried out.

    Attributes:
        problem: what went wrong.
        remedy: the override to try, as typed on the command line.
    """

    remedy = "solver.steps=40 model.sigma_w=0.5"

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; try {self.remedy}")
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets it as it is: its message, by which exceptions are pickled, has the remedy."""
        return type(self), (self.problem,), vars(self)


class NonFiniteState(SolverFailure):
    """The state left the range of floating-point numbers: a blow-up, or steps too long."""

    remedy = "model.horizon=0.25, model.sigma_w=0.5, or more steps (solver.steps=40)"


class StepUnderflow(SolverFailure):
    """An adaptive solver's step fell below the resolution of t."""

    remedy = (
        "model.horizon=0.25 or model.sigma_w=0.5 against a blow-up, "
        "else a looser tolerance (solver.rtol=1e-4 solver.atol=1e-4) or dtype=float64"
    )


class TooManySteps(SolverFailure):
    """An adaptive solver used up its step budget."""

    remedy = "solver.max_steps=100000, a looser tolerance (solver.rtol=1e-4 solver.atol=1e-4), or solver=rk4"


# The beginnings of torchdiffeq's assertion messages (torchdiffeq 0.2.5, _impl/rk_common.py).
_BY_MESSAGE = {
    "underflow in dt": StepUnderflow,
    "non-finite values in state": NonFiniteState,
    "max_num_steps exceeded": TooManySteps,
}


@contextmanager
def typed_failures(solver: object) -> Iterator[None]:
    """Translate torchdiffeq's assertions into `SolverFailure`s that name `solver`.

    Wrap forward solves and backward passes alike: the adjoint method solves during `backward`.

    Raises:
        SolverFailure: the matching subclass.
    """
    try:
        yield
    except AssertionError as error:
        message = str(error)
        for beginning, failure in _BY_MESSAGE.items():
            if message.startswith(beginning):
                # The non-finite message quotes the whole state: keep its first words only.
                raise failure(f"{solver}: {message.splitlines()[0][:60]}") from error
        raise
