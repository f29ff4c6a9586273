"""Gradients of the training loss: the run's own, and float64 references for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkode.integrate import Backprop, Solver, typed_failures
from ntkode.losses import Loss
from ntkode.models import ODEModel

# Gradient by the parameter's name, each of the parameter's shape.
Gradient = dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """θ ↦ L(f_θ(x) − f₀, y) on fixed samples.

    Attributes:
        loss: L.
        x: inputs, shape (N, d).
        y: targets, shape (N, k).
        offset: f₀ on these inputs, shape (N, k); None for zero.
    """

    loss: Loss
    x: Tensor
    y: Tensor
    offset: Tensor | None = None

    def __call__(self, model: ODEModel) -> Tensor:
        """The loss, a scalar in the dtype of the model's parameters."""
        dtype = next(model.parameters()).dtype
        f = model(self.x.to(dtype))
        if self.offset is not None:
            f = f - self.offset.to(dtype)
        return self.loss(f, self.y.to(dtype))


def loss_gradient(model: ODEModel, objective: Objective) -> Gradient:
    """∂L/∂θ by the model's own solver, gradient method and precision; `.grad` is left alone.

    Raises:
        SolverFailure: in the forward or the backward solve.
    """
    parameters = dict(model.named_parameters())
    with torch.enable_grad(), typed_failures(model.solver):
        gradients = torch.autograd.grad(objective(model), list(parameters.values()), materialize_grads=True)
    return dict(zip(parameters, gradients, strict=True))


def discrete_gradient(model: ODEModel, objective: Objective) -> Gradient:
    """The exact derivative of the discrete solve: backpropagation in float64 through the model's solver."""
    return loss_gradient(model.solved_by(model.solver, Backprop()).in_double(), objective)


@dataclass(frozen=True)
class ContinuousGradient:
    """The gradient of the ODE's exact flow.

    Attributes:
        gradient: by parameter, float64.
        error: estimated relative error of it.
        steps: RK4 steps that gave it.
    """

    gradient: Gradient
    error: float
    steps: int


def continuous_gradient(
    model: ODEModel, objective: Objective, *, tolerance: float = 1e-8, max_steps: int = 160
) -> ContinuousGradient:
    """The continuous gradient, by float64 RK4 whose steps double until the gradient stands still.

    Steps start at 40 a unit of the scaled horizon T·max(1, σ_w). For smooth φ the change under the last
    doubling bounds the error amply (order 4); for φ with kinks RK4's gradient is of order 1 only, the
    doubling ends at `max_steps` a unit, and the last change estimates the error.

    Args:
        model: gives parameters and horizon; its own solver plays no part.
        objective: the loss.
        tolerance: relative change to stop at.
        max_steps: steps a unit at which the doubling ends.
    """
    exact = model.in_double()
    units = max(1, math.ceil(model.scaled_horizon))
    steps, change = 40 * units, math.inf
    gradient = loss_gradient(exact.solved_by(Solver("rk4", steps=steps)), objective)
    while change > tolerance and 2 * steps <= max_steps * units:
        coarse, steps = gradient, 2 * steps
        gradient = loss_gradient(exact.solved_by(Solver("rk4", steps=steps)), objective)
        change = relative_error(coarse, gradient)
    return ContinuousGradient(gradient, change, steps)


def flatten(gradient: Gradient) -> Tensor:
    """All entries as one float64 vector, in the order of the names."""
    return torch.cat([gradient[name].flatten().double() for name in sorted(gradient)])


def relative_error(gradient: Gradient, reference: Gradient) -> float:
    """‖g − g_ref‖ / ‖g_ref‖ over all parameters; 0 where both vanish."""
    g, exact = flatten(gradient), flatten(reference)
    difference = (g - exact).norm()
    return float(difference / exact.norm()) if difference > 0 else 0.0
