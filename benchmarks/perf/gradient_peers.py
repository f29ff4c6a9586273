"""torchdyn and torchode, where they are installed, as gradient methods of the same model.

`make perf-peers` puts them into a folder of their own beside the environment, without what they ask for: they
run on the same PyTorch as everything else. torchdyn's rk4 is the classical rule, torchdiffeq's the 3/8 rule.
torchode has no Runge–Kutta rule of order 4: dopri5 with fixed steps stands in, with as many evaluations.
"""

from __future__ import annotations

import importlib.metadata
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from ntkode.integrate import Backprop, CountedField, GradientMethod, Solver

FOLDER = Path(__file__).resolve().parents[2] / ".torch-peers"
# Evaluations of a step; of dopri5, whose last stage is the next step's first, after the first step.
RK4_STAGES, DOPRI5_STAGES = 4, 6


# Behind the environment's own packages: theirs are the ones to run on.
sys.path.append(str(FOLDER))


@dataclass(frozen=True)
class Peer(ABC):
    """A gradient method outside ntkode."""

    reverses_time: ClassVar[bool] = False
    package: ClassVar[str]

    @property
    def version(self) -> str | None:
        """The package's, or None where it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None

    def reversing(self, solver: Solver) -> Solver | None:
        """Not told."""
        return None

    @property
    def exact(self) -> GradientMethod:
        """Backpropagation."""
        return Backprop()

    def check(self, solver: Solver, field: CountedField) -> None:
        """Only RK4 is compared.

        Raises:
            ValueError: another solver.
        """
        if solver.method != "rk4":
            raise ValueError(f"{self.package} is compared on rk4, not on {solver}")

    @abstractmethod
    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m)."""


@dataclass(frozen=True)
class Torchdyn(Peer):
    """torchdyn's `ODEProblem` with its rk4.

    Args:
        sensitivity: "autograd" or "adjoint".
    """

    package: ClassVar[str] = "torchdyn"

    sensitivity: str

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m)."""
        from torchdyn.core import ODEProblem

        # Its default tolerances, in order to be spared a warning that they have no effect.
        tolerances = dict.fromkeys(("atol", "rtol", "atol_adjoint", "rtol_adjoint"), 1e-3)
        problem = ODEProblem(
            _FieldModule(field),
            "rk4",
            sensitivity=self.sensitivity,
            optimizable_params=parameters,
            **tolerances,
        )
        # It steps along these times; its adjoint steps back along those whose states it has kept.
        times = torch.linspace(0.0, horizon, (solver.steps or 1) + 1, dtype=state.dtype)
        kept = times[-1:] if self.sensitivity == "autograd" else ()
        final: Tensor = problem.odeint(state, times, kept)[1][-1]
        return final


@dataclass(frozen=True)
class Torchode(Peer):
    """torchode's `AutoDiffAdjoint`, autograd through dopri5 with a fixed step."""

    package: ClassVar[str] = "torchode"

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m)."""
        import torchode

        steps = max(1, math.ceil(RK4_STAGES * (solver.steps or 1) / DOPRI5_STAGES))
        start = state.new_zeros(len(state))
        # A hair longer, so that rounding leaves no tiny step at the end; torchode cuts the last one short.
        step = torch.full_like(start, horizon / steps * (1 + 1e-6))
        adjoint = torchode.AutoDiffAdjoint(
            torchode.Dopri5(torchode.ODETerm(field)), torchode.FixedStepController()
        )
        problem = torchode.InitialValueProblem(y0=state, t_start=start, t_end=torch.full_like(start, horizon))
        final: Tensor = adjoint.solve(problem, dt0=step).ys[:, -1]
        return final


PEERS: dict[str, Peer] = {
    "torchdyn-autograd": Torchdyn("autograd"),
    "torchdyn-adjoint": Torchdyn("adjoint"),
    "torchode": Torchode(),
}


class _FieldModule(nn.Module):
    """F as torchdyn takes it; the parameters are registered by `ODEProblem`."""

    def __init__(self, field: CountedField) -> None:
        super().__init__()
        self._field = field

    def forward(self, t: Tensor, x: Tensor, args: object = None) -> Tensor:
        """F(t, x)."""
        return self._field(t, x)
