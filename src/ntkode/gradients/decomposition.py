"""Where the training gradient's error comes from."""

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
    """A part of the error.

    Attributes:
        relative: its norm over all parameters, relative to the norm of the continuous gradient.
        blocks: the same for each parameter by itself.
    """

    relative: float
    blocks: dict[str, float]


@dataclass(frozen=True)
class Decomposition:
    """The error g − g* of a gradient g against the continuous one, as a sum.

    g − g* = (g − g₆₄) + (g₆₄ − g_f) + (g_f − g*): g₆₄ is g in float64, g_f the exact gradient of the flow
    that ends where the forward solve ends.

    Attributes:
        rounding: g − g₆₄.
        backward: g₆₄ − g_f, what the backward pass adds: the adjoint's solve, or the discrete derivative.
        forward: g_f − g*, what the forward solve's error at T does.
        otd_gap: optimise-then-discretise against discretise-then-optimise: the adjoint's gradient by the
            model's solver, both ways, minus the exact derivative of its discrete solve. It belongs to the
            solver, whatever the gradient method, and is no summand.
    """

    rounding: Part
    backward: Part
    forward: Part
    otd_gap: Part


def decompose(model: ODEModel, objective: Objective, reference: ContinuousGradient) -> Decomposition:
    """Decompose the error of ∂L/∂θ by the model's solver, gradient method and precision.

    Args:
        model: the model as it is trained; not changed.
        objective: the loss.
        reference: the continuous gradient; g_f is as fine.

    Raises:
        SolverFailure: one of the solves failed.
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

    That flow starts at h(T) integrated finely backwards, instead of at h(0).

    Args:
        model: in float64.
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
