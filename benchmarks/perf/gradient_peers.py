"""torchdyn and torchode, if installed, as gradient methods of the same model.

`make perf-peers` installs them into a separate folder without their dependencies, so that they use the same
PyTorch as ntkode; measuring processes get this folder through PYTHONPATH. torchdyn's rk4 is the classical
rule, torchdiffeq's the 3/8 rule. torchode has no Runge–Kutta rule of order 4; dopri5 with fixed steps and
about as many evaluations replaces it.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
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
# Evaluations per step. dopri5 reuses its last stage as the first one of the next step.
RK4_STAGES, DOPRI5_STAGES = 4, 6


def environment() -> dict[str, str]:
    """The environment variable by which a process finds the peers."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(FOLDER))))}


@dataclass(frozen=True)
class Peer(ABC):
    """A gradient method of another library."""

    reverses_time: ClassVar[bool] = False
    package: ClassVar[str]

    @property
    def version(self) -> str | None:
        """The version of the package; None if it is not installed."""
        path = [*sys.path, str(FOLDER)]
        installed = importlib.metadata.distributions(name=self.package, path=path)
        return next((distribution.version for distribution in installed), None)

    def reversing(self, solver: Solver) -> Solver | None:
        """None: the peers report no reversed solver."""
        return None

    @property
    def exact(self) -> GradientMethod:
        """Backpropagation through the solve, ntkode's reference method."""
        return Backprop()

    def check(self, solver: Solver, field: CountedField) -> None:
        """Check that the solver is RK4, the only one compared.

        Raises:
            ValueError: it is not.
        """
        if solver.method != "rk4":
            raise ValueError(f"{self.package} is compared on rk4, not on {solver}")

    @abstractmethod
    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """The final state h(T), shape (N, m)."""


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
        """The final state h(T), shape (N, m)."""
        from torchdyn.core import ODEProblem

        # The default tolerances, given explicitly to avoid a warning that they have no effect.
        tolerances = dict.fromkeys(("atol", "rtol", "atol_adjoint", "rtol_adjoint"), 1e-3)
        problem = ODEProblem(
            _FieldModule(field),
            "rk4",
            sensitivity=self.sensitivity,
            optimizable_params=parameters,
            **tolerances,
        )
        # Grid of the solve; the adjoint steps back along the stored times.
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
        """The final state h(T), shape (N, m)."""
        import torchode

        steps = max(1, math.ceil(RK4_STAGES * (solver.steps or 1) / DOPRI5_STAGES))
        start = state.new_zeros(len(state))
        # Slightly longer, so that rounding leaves no tiny last step; torchode shortens the last step.
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
    """F as a module for torchdyn; `ODEProblem` registers the parameters."""

    def __init__(self, field: CountedField) -> None:
        super().__init__()
        self._field = field

    def forward(self, t: Tensor, x: Tensor, args: object = None) -> Tensor:
        """The vector field F(t, x), shape (N, m)."""
        return self._field(t, x)
