"""What every continuous-depth model shares: encode, flow by an ODE, read out."""

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

    Subclasses define `encode`, `vector_field`, `preactivations`, `readout` and `field_parameters`; where the
    field has one hidden layer, `LayeredODEModel` is the better base.

    Args:
        in_features: d, the length of an input.
        out_features: k, the number of outputs.
        width: n, the hidden width.
        activation: φ, or its registered name.
        horizon: T > 0.
        solver: how the ODE is solved.
        gradient: how its solution is differentiated.
        subtract_initial_output: whether training uses f − f₀, with f₀ the output at initialisation.
            `forward` gives f all the same: the NTK of both is one.

    Attributes:
        cost: of the newest flow, and of the backward pass through it.

    Raises:
        ValueError: a size below 1, a horizon that is not positive and finite, an unknown activation, or a
            gradient method that does not go with the solver or the field.
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
        """What the steps of a fine solve must grow with: T, times the field's scale where it is known."""
        return self.horizon

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """h(0), shape (N, m), from inputs of shape (N, d)."""

    @abstractmethod
    def preactivations(self, t: Tensor, h: Tensor) -> Tensor:
        """What φ is applied to inside the vector field, shape (N, units)."""

    @abstractmethod
    def vector_field(self, t: Tensor, h: Tensor) -> Tensor:
        """dh/dt, shape (N, m), at time t (a scalar tensor) and states of shape (N, m)."""

    @abstractmethod
    def readout(self, h: Tensor) -> Tensor:
        """The output f, shape (N, k), from final states of shape (N, m)."""

    @abstractmethod
    def field_parameters(self) -> list[nn.Parameter]:
        """The parameters of the vector field: those that an adjoint method differentiates."""

    def counted_field(self) -> CountedField:
        """The vector field as gradient methods take it."""
        return CountedField(self.vector_field)

    def flow(self, state: Tensor) -> Tensor:
        """h(T), shape (N, m), from h(0) = `state`; `cost` tells what it and its derivative take."""
        field = self.counted_field()
        parameters = list(dict.fromkeys(self.field_parameters()))  # tied ones once
        final = self.gradient.flow(self.solver, field, state, self.horizon, parameters)
        field.end_forward()
        self.cost = field.cost
        return final

    def forward(self, x: Tensor) -> Tensor:
        """f(x), shape (N, k), from inputs of shape (N, d) in the parameters' dtype.

        Raises:
            ValueError: inputs of another shape.
            SolverFailure: see `Solver.integrate`.
        """
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ValueError(f"inputs have shape {tuple(x.shape)}, not (N, in_features={self.in_features})")
        return self.readout(self.flow(self.encode(x)))

    def solved_by(self, solver: Solver, gradient: GradientMethod = Backprop()) -> Self:
        """The same model on the same parameters, solved by `solver` and differentiated by `gradient`.

        Raises:
            ValueError: the gradient method does not go with the solver or the field.
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
        """What tells the model from others, for `print`."""
        sizes = f"in_features={self.in_features}, width={self.width}, out_features={self.out_features}"
        return f"{sizes}, activation={self.activation.name}, solver={self.solver}, gradient={self.gradient}"

    def in_double(self) -> Self:
        """A detached copy in float64."""
        return copy.deepcopy(self).double()


class LayeredODEModel(ODEModel):
    """A model whose vector field has one hidden layer: velocity(φ(preactivations(t, h))).

    `preactivations` must be affine in h and `velocity` affine, with linear parts that do not depend on t:
    gradient methods may then treat φ by itself.
    """

    @abstractmethod
    def velocity(self, activated: Tensor) -> Tensor:
        """dh/dt, shape (N, m), from φ's values, shape (N, units)."""

    def vector_field(self, t: Tensor, h: Tensor) -> Tensor:
        """velocity(φ(preactivations(t, h))), shape (N, m)."""
        return self.velocity(self.activation(self.preactivations(t, h)))

    def counted_field(self) -> LayeredField:
        """The vector field in its layers."""
        return LayeredField(self.preactivations, self.activation, self.velocity)
