"""Base classes of continuous-depth models: encoder, ODE flow, readout."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Self

from torch import Tensor, nn

from ntkode import activations
from ntkode.activations import Activation
from ntkode.checks import count, positive
from ntkode.integrate import Backprop, CountedField, GradientMethod, LayeredField, SolveCost, Solver


class ODEModel(nn.Module, ABC):
    """f(x) = readout(h(T)) with h(0) = encode(x) and dh/dt = vector_field(t, h) on [0, T].

    Subclasses define `encode`, `vector_field`, `preactivations`, `readout` and `field_parameters`. A model
    whose field has one hidden layer should derive from `LayeredODEModel`.

    Args:
        in_features: d, the length of an input.
        out_features: k, the number of outputs.
        width: n, the hidden width.
        activation: φ, or its registered name.
        horizon: T > 0.
        solver: ODE solver of the flow.
        gradient: method that differentiates h(T).
        subtract_initial_output: whether training uses f − f₀, with f₀ the output at initialisation.
            `forward` returns f in both cases; the NTK is the same.

    Attributes:
        cost: evaluations and steps of the newest flow, and of the backward pass through it.

    Raises:
        ValueError: a size is below 1, the horizon is not positive and finite, the activation is unknown, or
            the gradient method does not support the solver or the field.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        out_features: int,
        *,
        activation: Activation | str,
        horizon: float,
        solver: Solver,
        gradient: GradientMethod,
        subtract_initial_output: bool,
    ) -> None:
        super().__init__()
        self.in_features = count("model.in_features", in_features)
        self.width = count("model.width", width)
        self.out_features = count("model.out_features", out_features)
        self.activation = activations.get(activation) if isinstance(activation, str) else activation
        self.horizon = positive("model.horizon", horizon)
        self.solver = solver
        self.gradient = gradient
        self._check(solver, gradient)
        self.subtract_initial_output = subtract_initial_output
        self.cost = SolveCost()

    @property
    def scaled_horizon(self) -> float:
        """Horizon in units of the field's time scale; T if that scale is unknown.

        Fine solves (references, kernels) take a number of steps proportional to it.
        """
        return self.horizon

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """h(0), shape (N, m), from inputs of shape (N, d)."""

    @abstractmethod
    def preactivations(self, t: Tensor, h: Tensor) -> Tensor:
        """Argument of φ inside the vector field, shape (N, units)."""

    @abstractmethod
    def vector_field(self, t: Tensor, h: Tensor) -> Tensor:
        """dh/dt, shape (N, m), at time t (a scalar tensor) and states of shape (N, m)."""

    @abstractmethod
    def readout(self, h: Tensor) -> Tensor:
        """The output f, shape (N, k), from final states of shape (N, m)."""

    @abstractmethod
    def field_parameters(self) -> list[nn.Parameter]:
        """The parameters of the vector field, which adjoint methods differentiate."""

    def counted_field(self) -> CountedField:
        """The vector field with counters, as the argument of gradient methods."""
        return CountedField(self.vector_field)

    def flow(self, state: Tensor) -> Tensor:
        """h(T), shape (N, m), from h(0) = `state`; `cost` counts this flow and its derivative."""
        field = self.counted_field()
        parameters = list(dict.fromkeys(self.field_parameters()))  # tied parameters once
        final = self.gradient.flow(self.solver, field, state, self.horizon, parameters)
        field.end_forward()
        self.cost = field.cost
        return final

    def forward(self, x: Tensor) -> Tensor:
        """f(x), shape (N, k), from inputs of shape (N, d) in the parameters' dtype.

        Raises:
            ValueError: x is not (N, d).
            SolverFailure: see `Solver.integrate`.
        """
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ValueError(f"inputs have shape {tuple(x.shape)}, not (N, in_features={self.in_features})")
        return self.readout(self.flow(self.encode(x)))

    def solved_by(self, solver: Solver, gradient: GradientMethod = Backprop()) -> Self:
        """Copy of the model that shares its parameters, with another solver and gradient method.

        Raises:
            ValueError: the gradient method does not support the solver or the field.
        """
        self._check(solver, gradient)
        twin = copy.copy(self)
        twin.solver = solver
        twin.gradient = gradient
        return twin

    def _check(self, solver: Solver, gradient: GradientMethod) -> None:
        if not isinstance(solver, Solver):
            raise ValueError(f"solver={solver!r} is not a solver: pass one, such as Solver('rk4', steps=10)")
        if isinstance(gradient, type) or not hasattr(gradient, "flow"):
            raise ValueError(f"gradient={gradient!r} is not a gradient method: pass one, such as Adjoint()")
        gradient.check(solver, self.counted_field())

    def extra_repr(self) -> str:
        """Sizes, activation, solver and gradient method, for `print`."""
        sizes = f"in_features={self.in_features}, width={self.width}, out_features={self.out_features}"
        return f"{sizes}, activation={self.activation.name}, solver={self.solver}, gradient={self.gradient}"

    def in_double(self) -> Self:
        """Independent copy of the model, with its parameters in float64."""
        return copy.deepcopy(self).double()


class LayeredODEModel(ODEModel):
    """A model whose vector field has one hidden layer: velocity(φ(preactivations(t, h))).

    `preactivations` must be affine in h, and `velocity` affine, with linear parts that do not depend on t.
    Gradient methods may then treat φ separately.
    """

    @abstractmethod
    def velocity(self, activated: Tensor) -> Tensor:
        """dh/dt, shape (N, m), from φ's values, shape (N, units)."""

    def vector_field(self, t: Tensor, h: Tensor) -> Tensor:
        """velocity(φ(preactivations(t, h))), shape (N, m)."""
        return self.velocity(self.activation(self.preactivations(t, h)))

    def counted_field(self) -> LayeredField:
        """The vector field with counters and its three layers: inner, φ, outer."""
        return LayeredField(self.preactivations, self.activation, self.velocity)
