"""ODE solvers: an immutable, validated description of a torchdiffeq solve."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchdiffeq import odeint

from ntkode.checks import count, positive
from ntkode.integrate.failures import NonFiniteState, typed_failures
from ntkode.integrate.fields import CountedField, Field
from ntkode.integrate.observation import Observed

# method → order of convergence
FIXED_STEP = {"euler": 1, "midpoint": 2, "rk4": 4, "implicit_adams": 4}
ADAPTIVE = {"adaptive_heun": 2, "bosh3": 3, "dopri5": 5, "dopri8": 8}


@dataclass(frozen=True)
class Solver:
    """Method and settings that solve dh/dt = F(t, h) over [0, T].

    Fixed-step methods take `steps` equal steps; adaptive ones keep the local error estimate below
    atol + rtol·|h|, with one step size for the whole batch. `rk4` is torchdiffeq's 3/8 rule;
    `implicit_adams` is Adams–Bashforth–Moulton on a fixed grid, its corrector iterated to `rtol`.

    Args:
        method: one of `FIXED_STEP` or `ADAPTIVE`.
        steps: number of steps over [0, T]; None: 10. Fixed-step methods only.
        rtol: relative tolerance; None: 1e-6. Adaptive methods and `implicit_adams` only.
        atol: absolute tolerance; None: 1e-6. Same methods as `rtol`.
        max_steps: largest number of steps in one adaptive solve.

    Raises:
        ValueError: the method is unknown, or a setting is out of range or does not apply to the method.

    Example:
        >>> Solver("rk4", steps=20).order
        4
        >>> print(Solver("dopri5"))
        dopri5(rtol=1e-06, atol=1e-06)
        >>> Solver("dopri5", steps=20)
        Traceback (most recent call last):
        ValueError: solver dopri5 is adaptive and takes no steps=20: ...
    """

    method: str = "rk4"
    steps: int | None = None
    rtol: float | None = None
    atol: float | None = None
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        if self.method not in FIXED_STEP | ADAPTIVE:
            known = ", ".join(FIXED_STEP | ADAPTIVE)
            raise ValueError(f"unknown solver method {self.method!r}: choose one of {known} (solver=rk4)")
        if self.adaptive and self.steps is not None:
            raise ValueError(
                f"solver {self.method} is adaptive and takes no steps={self.steps}: "
                "set solver.rtol and solver.atol, or use solver=rk4 solver.steps=…"
            )
        if self.method in ("euler", "midpoint", "rk4") and (self.rtol, self.atol) != (None, None):
            raise ValueError(
                f"solver {self.method} has fixed steps and takes no tolerance "
                f"(rtol={self.rtol}, atol={self.atol}): set solver.steps, or use solver=dopri5"
            )
        self._fill_defaults()
        self._check_ranges()

    def _fill_defaults(self) -> None:
        if not self.adaptive and self.steps is None:
            object.__setattr__(self, "steps", 10)
        if self.adaptive or self.method == "implicit_adams":
            for name in ("rtol", "atol"):
                if getattr(self, name) is None:
                    object.__setattr__(self, name, 1e-6)

    def _check_ranges(self) -> None:
        count("solver.max_steps", self.max_steps)
        if self.steps is not None:
            count("solver.steps", self.steps)
        for name in ("rtol", "atol"):
            if getattr(self, name) is not None:
                positive(f"solver.{name}", getattr(self, name))

    def __str__(self) -> str:
        if self.adaptive:
            return f"{self.method}(rtol={self.rtol:g}, atol={self.atol:g})"
        return f"{self.method}({self.steps} steps)"

    @property
    def adaptive(self) -> bool:
        """Whether the step size follows an error estimate."""
        return self.method in ADAPTIVE

    @property
    def order(self) -> int:
        """Order of convergence p: the error of a fixed-step solve falls as steps^(−p) for smooth F."""
        return (FIXED_STEP | ADAPTIVE)[self.method]

    def fixed_twin(self, horizon: float) -> Solver:
        """This solver if it has fixed steps, otherwise RK4 with 20 steps per unit of `horizon`, at least 20.

        Kernels differentiate a fixed-step solve: adaptive steps couple the samples of a batch.
        """
        return Solver("rk4", steps=max(20, math.ceil(20 * horizon))) if self.adaptive else self

    def ends(self, state: Tensor, horizon: float) -> Tensor:
        """Times (0, T), or (T, 0) for `horizon` = −T, in the state's dtype and on its device."""
        ends = (0.0, horizon) if horizon > 0 else (-horizon, 0.0)
        return torch.tensor(ends, dtype=state.dtype, device=state.device)

    def integrate(
        self,
        solve: Callable[..., Tensor],
        field: Field,
        state: Tensor,
        horizon: float,
        *,
        backward: Solver | None = None,
    ) -> Tensor:
        """h(T) from h(0) = `state`, shape (N, m), by `solve`: torchdiffeq's `odeint` or `odeint_adjoint`.

        A negative `horizon` integrates backwards in time, from T = |horizon| to 0. A `CountedField` also
        counts the steps; `backward` is the solver of the adjoint ODE.

        Raises:
            SolverFailure: the state is not finite, the step underflows, or there are too many steps.
        """
        return self._solve(solve, field, state, self.ends(state, horizon), backward)[-1]

    def trajectory(self, field: Field, state: Tensor, horizon: float) -> Tensor:
        """h at every grid point of a fixed-step solve over [0, T], shape (steps + 1, N, m).

        Raises:
            ValueError: the solver is adaptive, so it has no grid; use its `fixed_twin`.
            SolverFailure: see `integrate`.
        """
        if self.steps is None:
            raise ValueError(f"{self} has no fixed grid: use its fixed_twin")
        times = torch.linspace(0.0, horizon, self.steps + 1, dtype=state.dtype, device=state.device)
        return self._solve(odeint, field, state, times)

    def _solve(
        self,
        solve: Callable[..., Tensor],
        field: Field,
        state: Tensor,
        times: Tensor,
        backward: Solver | None = None,
    ) -> Tensor:
        if isinstance(field, CountedField):
            field = Observed(field, self, backward)
        with typed_failures(self), warnings.catch_warnings():
            # float32 cannot reach a corrector tolerance near its rounding error.
            warnings.filterwarnings("ignore", message="Functional iteration did not converge")
            states = solve(field, state, times, **self.arguments(times))
        self.check_finite(states[-1], times[-1])
        return states

    def check_finite(self, state: Tensor, time: Tensor | float) -> None:
        """Check that the state at `time` is finite.

        Raises:
            NonFiniteState: an entry is NaN or infinite.
        """
        if not state.isfinite().all():
            raise NonFiniteState(f"{self}: non-finite state at t={float(time):g}")

    def arguments(self, times: Tensor) -> dict[str, Any]:
        """torchdiffeq's `method`, `options` and tolerances for a solve from first to last of `times`."""
        if self.adaptive:
            # torchdiffeq steps past the end and interpolates back, with an error that the tolerance does
            # not control (2e-5 for dopri8 at 1e-8): make it step onto the end, in either direction.
            options = {"max_num_steps": self.max_steps, "step_t": times[[0, -1]]}
        else:
            options = {"grid_constructor": self._grid}
        arguments: dict[str, Any] = {"method": self.method, "options": options}
        if self.rtol is not None:
            arguments |= {"rtol": self.rtol, "atol": self.atol}
        return arguments

    def _grid(self, field: Field, state: Tensor, times: Tensor) -> Tensor:
        """Exactly `steps` equal steps: torchdiffeq's `step_size` may add one through rounding."""
        assert self.steps is not None
        fractions = torch.linspace(0.0, 1.0, self.steps + 1, dtype=times.dtype, device=times.device)
        return torch.lerp(times[0], times[-1], fractions)
