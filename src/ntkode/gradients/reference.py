"""Gradients of the training loss: of the model as trained, and float64 references."""

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

# Gradients by parameter name, each of the shape of its parameter.
Gradient = dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """θ ↦ L(f_θ(x) − f₀, y) on fixed samples.

    Attributes:
        loss: L.
        x: inputs, shape (N, d).
        y: targets, shape (N, k).
        offset: f₀ on these inputs, shape (N, k); None: zero.
        shift: added to h(0), shape (N, m), to move the start of the flow; None: zero.
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
    """∂L/∂θ by the model's solver, gradient method and precision, for parameters that require a gradient.

    `.grad` is not changed.

    Raises:
        SolverFailure: the forward or the backward solve fails.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with torch.enable_grad(), typed_failures(model.solver):
        gradients = torch.autograd.grad(objective(model), list(parameters.values()), materialize_grads=True)
    return dict(zip(parameters, gradients, strict=True))


def discrete_gradient(model: ODEModel, objective: Objective) -> Gradient:
    """Derivative of the model's discrete solve, by autograd in float64; exact up to rounding."""
    return loss_gradient(model.solved_by(model.solver, model.gradient.exact).in_double(), objective)


@dataclass(frozen=True)
class ContinuousGradient:
    """Gradient of the exact flow of the ODE, with its estimated error.

    Attributes:
        gradient: ∂L/∂θ by parameter name, float64.
        error: estimated relative error of `gradient`.
        steps: number of RK4 steps over [0, T].
    """

    gradient: Gradient
    error: float
    steps: int


def fine_twin(model: ODEModel, steps: int) -> ODEModel:
    """Copy of the model in float64, solved by RK4 with a gradient method of the highest order for its φ.

    The method is `KinkAveraged` for piecewise linear φ in one hidden layer, otherwise backpropagation.
    """
    method = KinkAveraged() if _averaged(model) else Backprop()
    return model.in_double().solved_by(Solver("rk4", steps=steps), method)


def refinements(model: ODEModel, objective: Objective, max_steps: int) -> Iterator[ContinuousGradient]:
    """Increasingly accurate continuous gradients: `fine_twin` with 20, 40, 80, … steps per unit of time.

    The number of units is `model.scaled_horizon`, rounded up. The first two levels, of 5 and 10 steps, only
    give the rate of convergence. If consecutive levels differ by ρδ and then by δ, the error of the last is
    about δ/(ρ − 1) (Richardson), with ρ clamped to [2, 2^p]: p = 2 for `KinkAveraged`, otherwise
    p = min(m + 1, 4) for φ in C^m.

    Args:
        model: the model; its solver and gradient method are not used.
        objective: the loss.
        max_steps: steps per unit at which the doubling ends, at least 20.

    Raises:
        ValueError: `max_steps` is below 20.
        SolverFailure: the solve with the most steps fails; failures of coarser levels are skipped.
    """
    units = max(1, math.ceil(model.scaled_horizon))
    max_ratio = 2.0 ** _order(model)
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
            ratio = min(max(before / change, 2.0), max_ratio) if 0 < change < math.inf else 2.0
            if steps >= 20:
                yield ContinuousGradient(fine, change / (ratio - 1), steps * units)
            coarse = fine
        steps *= 2


def _averaged(model: ODEModel) -> bool:
    layered = isinstance(model.counted_field(), LayeredField)
    return layered and PiecewiseLinear.of(model.activation) is not None


def _order(model: ODEModel) -> float:
    """Order of convergence of the gradient of `fine_twin`."""
    return 2.0 if _averaged(model) else min(4.0, model.activation.profile.smoothness + 1)


def continuous_gradient(
    model: ODEModel, objective: Objective, *, tolerance: float = 1e-8, max_steps: int = 160
) -> ContinuousGradient:
    """∂L/∂θ of the exact flow, in float64: the first of the `refinements` with an error below `tolerance`.

    For φ with kinks the doubling ends at `max_steps` per unit. With 160 the relative error is about 1e-6 for
    piecewise linear φ and widths in the hundreds.

    Args:
        model: the model; its solver and gradient method are not used.
        objective: the loss.
        tolerance: relative error at which the refinement stops.
        max_steps: steps per unit at which the doubling ends.
    """
    for reference in refinements(model, objective, max_steps):
        if reference.error <= tolerance:
            break
    return reference


def flatten(gradient: Gradient) -> Tensor:
    """All entries as one float64 vector (P,), in the order of the dictionary."""
    return torch.cat([gradient[name].flatten().double() for name in sorted(gradient)])


def relative_error(gradient: Gradient, reference: Gradient) -> float:
    """‖g − g_ref‖ / ‖g_ref‖ over all parameters; 0 if both vanish, not finite if one of them is not."""
    g, exact = flatten(gradient), flatten(reference)
    difference = (g - exact).norm()
    return float(difference / exact.norm()) if difference != 0 else 0.0
