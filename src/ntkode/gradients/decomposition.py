"""Decomposition of the training gradient's error into rounding, backward and forward parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchdiffeq import odeint

from ntkode.gradients.reference import (
    ContinuousGradient,
    Gradient,
    Objective,
    fine_twin,
    flatten,
    loss_gradient,
)
from ntkode.integrate import Adjoint, Backprop
from ntkode.models import ODEModel


@dataclass(frozen=True)
class Part:
    """The size of one part of the error.

    Attributes:
        relative: norm of the part over all parameters, relative to the norm of the continuous gradient.
        blocks: the same ratio for each parameter, by name.
    """

    relative: float
    blocks: dict[str, float]


@dataclass(frozen=True)
class Decomposition:
    """The error g − g* of a gradient g against the continuous gradient g*, as a sum of three parts.

    g − g* = (g − g₆₄) + (g₆₄ − g_f) + (g_f − g*): g₆₄ is g in float64, g_f the exact gradient of the flow
    that ends where the forward solve ends.

    Attributes:
        rounding: g − g₆₄.
        backward: g₆₄ − g_f, error of the backward pass: of the adjoint solve, or of the discrete derivative.
        forward: g_f − g*, effect of the forward solve's error at T.
        otd_gap: optimise-then-discretise minus discretise-then-optimise: the adjoint's gradient with the
            model's solver in both directions, minus the exact derivative of the discrete solve. It depends on
            the solver, not on the gradient method, and is not a summand.
    """

    rounding: Part
    backward: Part
    forward: Part
    otd_gap: Part


def decompose(model: ODEModel, objective: Objective, reference: ContinuousGradient) -> Decomposition:
    """Decompose the error of ∂L/∂θ by the model's solver, gradient method and precision.

    Args:
        model: the model as trained; it is not changed.
        objective: the loss.
        reference: the continuous gradient; g_f uses the same number of steps.

    Raises:
        SolverFailure: one of the solves fails.
    """
    double = model.in_double()
    gradient, gradient_double = loss_gradient(model, objective), loss_gradient(double, objective)
    adjoint, backprop = (
        loss_gradient(double.solved_by(model.solver, method), objective) for method in (Adjoint(), Backprop())
    )
    ended = ended_flow_gradient(double, objective, reference.steps)
    scale = reference.gradient
    return Decomposition(
        rounding=_part(gradient, gradient_double, scale),
        backward=_part(gradient_double, ended, scale),
        forward=_part(ended, reference.gradient, scale),
        otd_gap=_part(adjoint, backprop, scale),
    )


def ended_flow_gradient(model: ODEModel, objective: Objective, steps: int) -> Gradient:
    """∂L/∂θ of the exact flow that ends at the model's discrete h(T).

    The flow starts at the fine backward solution from h(T) instead of at h(0).

    Args:
        model: a model in float64.
        objective: the loss.
        steps: RK4 steps of the fine solves.
    """
    fine = fine_twin(model, steps)
    with torch.no_grad():
        start = model.encode(objective.x.double())
        back = fine.solver.integrate(odeint, model.vector_field, model.flow(start), -model.horizon)
    shifted = Objective(objective.loss, objective.x, objective.y, objective.offset, shift=back - start)
    return loss_gradient(fine, shifted)


def _part(gradient: Gradient, other: Gradient, scale: Gradient) -> Part:
    difference = {name: gradient[name].double() - other[name].double() for name in gradient}
    return Part(
        relative=_ratio(flatten(difference), flatten(scale)),
        blocks={name: _ratio(difference[name], scale[name]) for name in gradient},
    )


def _ratio(difference: Tensor, scale: Tensor) -> float:
    return float(difference.norm() / scale.norm()) if difference.any() else 0.0
