"""Exceptions for failures of an ODE solve, converted from torchdiffeq's assertions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class SolverFailure(RuntimeError):
    """The ODE solve failed.

    Attributes:
        problem: description of the failure, with the solver.
        remedy: the command-line override to try.
    """

    remedy = "solver.steps=40 model.sigma_w=0.5"

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; try {self.remedy}")
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by `problem`: the default uses the message, which already contains the remedy."""
        return type(self), (self.problem,), vars(self)


class NonFiniteState(SolverFailure):
    """The state is NaN or infinite: the solution blows up, or the steps are too long."""

    remedy = "model.horizon=0.25, model.sigma_w=0.5, or more steps (solver.steps=40)"


class StepUnderflow(SolverFailure):
    """The step of an adaptive solver is below the resolution of t."""

    remedy = (
        "model.horizon=0.25 or model.sigma_w=0.5 if the solution blows up, "
        "otherwise a looser tolerance (solver.rtol=1e-4 solver.atol=1e-4) or dtype=float64"
    )


class TooManySteps(SolverFailure):
    """An adaptive solver needs more than `max_steps` steps."""

    remedy = "solver.max_steps=100000, a looser tolerance (solver.rtol=1e-4 solver.atol=1e-4), or solver=rk4"


# First words of torchdiffeq's assertion messages (torchdiffeq 0.2.5, _impl/rk_common.py).
_BY_MESSAGE = {
    "underflow in dt": StepUnderflow,
    "non-finite values in state": NonFiniteState,
    "max_num_steps exceeded": TooManySteps,
}


@contextmanager
def typed_failures(solver: object) -> Iterator[None]:
    """Context in which torchdiffeq's assertions become `SolverFailure`s that name `solver`.

    Use it for forward solves and for backward passes, in which the adjoint method solves.

    Raises:
        SolverFailure: the subclass that matches the assertion.
    """
    try:
        yield
    except AssertionError as error:
        message = str(error)
        for beginning, failure in _BY_MESSAGE.items():
            if message.startswith(beginning):
                # The message about a non-finite state quotes the whole state: keep its first words only.
                raise failure(f"{solver}: {message.splitlines()[0][:60]}") from error
        raise
