"""Gradients of the training loss: of the model as it is trained, and float64 references for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkode.activations import PiecewiseLinear
from ntkode.checks import count
from ntkode.integrate import Backprop, KinkAveraged, LayeredField, Solver, SolverFailure, typed_failures
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
        shift: added to h(0), shape (N, m), to start the flow elsewhere; None for zero.
    """

    loss: Loss
    x: Tensor
    y: Tensor
    offset: Tensor | None = None
    shift: Tensor | None = None

    def __call__(self, model: ODEModel) -> Tensor:
        """The loss, a scalar in the dtype of the model's parameters."""
        dtype = next(model.parameters()).dtype
        if self.shift is None:
            f = model(self.x.to(dtype))
        else:
            f = model.readout(model.flow(model.encode(self.x.to(dtype)) + self.shift.to(dtype)))
        if self.offset is not None:
            f = f - self.offset.to(dtype)
        return self.loss(f, self.y.to(dtype))


def loss_gradient(model: ODEModel, objective: Objective) -> Gradient:
    """∂L/∂θ by the model's solver, gradient method and precision; `.grad` is left alone.

    Of the parameters that are trained, those that require a gradient.

    Raises:
        SolverFailure: in the forward or the backward solve.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with torch.enable_grad(), typed_failures(model.solver):
        gradients = torch.autograd.grad(objective(model), list(parameters.values()), materialize_grads=True)
    return dict(zip(parameters, gradients, strict=True))


def discrete_gradient(model: ODEModel, objective: Objective) -> Gradient:
    """The exact derivative of the model's discrete solve, by autograd in float64; exact to rounding."""
    return loss_gradient(model.solved_by(model.solver, model.gradient.exact).in_double(), objective)


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


def fine_twin(model: ODEModel, steps: int) -> ODEModel:
    """The model in float64 solved by RK4, and differentiated by the method of the highest order for its φ.

    That is `KinkAveraged` for piecewise linear φ in one hidden layer, else backpropagation.
    """
    method = KinkAveraged() if _averaged(model) else Backprop()
    return model.in_double().solved_by(Solver("rk4", steps=steps), method)


def refinements(model: ODEModel, objective: Objective, max_steps: int) -> Iterator[ContinuousGradient]:
    """Increasingly accurate continuous gradients: `fine_twin` with 20, 40, 80, … steps a unit of σ_w·T or T.

    The first two levels, of 5 and 10 steps, only show how the error falls. A level that differs by δ from the
    one before, which differed by ρδ from its predecessor, has an error of about δ/(ρ − 1) (Richardson),
    ρ held between 2 and 2^p: p = 2 by `KinkAveraged`, else m + 1 for φ in C^m, and 4 at most.

    Args:
        model: gives parameters and horizon; its solver and gradient method are not used.
        objective: the loss.
        max_steps: steps a unit at which the doubling ends, 20 at least.

    Raises:
        ValueError: `max_steps` below 20.
        SolverFailure: the flow cannot be solved even by the most steps; with fewer it may fail.
    """
    units = max(1, math.ceil(model.scaled_horizon))
    most_ratio = 2.0 ** _order(model)
    coarse, change = None, math.inf
    count("max_steps", max_steps, least=20)
    steps = 5
    while steps <= max_steps:
        try:
            fine = loss_gradient(fine_twin(model, steps * units), objective)
        except SolverFailure:
            if 2 * steps > max_steps:
                raise
            coarse, change = None, math.inf
        else:
            before, change = change, math.inf if coarse is None else relative_error(coarse, fine)
            ratio = min(max(before / change, 2.0), most_ratio) if 0 < change < math.inf else 2.0
            if steps >= 20:
                yield ContinuousGradient(fine, change / (ratio - 1), steps * units)
            coarse = fine
        steps *= 2


def _averaged(model: ODEModel) -> bool:
    layered = isinstance(model.counted_field(), LayeredField)
    return layered and PiecewiseLinear.of(model.activation) is not None


def _order(model: ODEModel) -> float:
    """Order of the gradient of `fine_twin`."""
    return 2.0 if _averaged(model) else min(4.0, model.activation.profile.smoothness + 1)


def continuous_gradient(
    model: ODEModel, objective: Objective, *, tolerance: float = 1e-8, max_steps: int = 160
) -> ContinuousGradient:
    """∂L/∂θ of the exact flow, in float64: the first of the `refinements` within `tolerance`.

    For φ with kinks the doubling ends at `max_steps` a unit: at 160, the error is some 1e-6 of the gradient
    for piecewise linear φ at a width in the hundreds.

    Args:
        model: gives parameters and horizon; its solver is not used.
        objective: the loss.
        tolerance: relative error to stop at.
        max_steps: steps a unit at which the doubling ends.
    """
    for reference in refinements(model, objective, max_steps):
        if reference.error <= tolerance:
            break
    return reference


def flatten(gradient: Gradient) -> Tensor:
    """All entries as one float64 vector, in the order of the names."""
    return torch.cat([gradient[name].flatten().double() for name in sorted(gradient)])


def relative_error(gradient: Gradient, reference: Gradient) -> float:
    """‖g − g_ref‖ / ‖g_ref‖ over all parameters; 0 where both vanish, not finite where one is not."""
    g, exact = flatten(gradient), flatten(reference)
    difference = (g - exact).norm()
    return float(difference / exact.norm()) if difference != 0 else 0.0
