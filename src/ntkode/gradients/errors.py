"""Errors of the training gradient against exact references."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ntkode.gradients.reference import (
    ContinuousGradient,
    Gradient,
    Objective,
    discrete_gradient,
    flatten,
    loss_gradient,
    refinements,
    relative_error,
)
from ntkode.losses import Loss, SquaredError
from ntkode.models import ODEModel

# A reference is accurate enough if its error is below this share of the measured error, or below this error.
RESOLUTION = 0.02
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Deviation:
    """Difference of a gradient from a reference.

    Attributes:
        relative_error: ‖g − g_ref‖ / ‖g_ref‖ over all parameters.
        cosine: ⟨g, g_ref⟩ / (‖g‖ ‖g_ref‖).
        blocks: the relative error of each parameter, by name.
    """

    relative_error: float
    cosine: float
    blocks: dict[str, float]


@dataclass(frozen=True)
class GradientErrors:
    """Errors of the training gradient.

    Attributes:
        continuous: deviation from the gradient of the exact flow of the ODE.
        discrete: deviation from the exact derivative of the discrete solve.
        reference_error: estimated relative error of the continuous reference; smaller errors are not
            resolved.
    """

    continuous: Deviation
    discrete: Deviation
    reference_error: float


def deviation(gradient: Gradient, reference: Gradient) -> Deviation:
    """Deviation of a gradient from a reference of the same parameters, computed in float64."""
    g, exact = flatten(gradient), flatten(reference)
    norms = g.norm() * exact.norm()
    return Deviation(
        relative_error=relative_error(gradient, reference),
        cosine=float(g @ exact / norms) if norms > 0 else float("nan"),
        blocks={n: relative_error({n: gradient[n]}, {n: reference[n]}) for n in gradient},
    )


def gradient_error(
    model: ODEModel,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss | None = None,
    offset: Tensor | None = None,
    max_steps: int = 160,
) -> GradientErrors:
    """Errors of ∂L/∂θ by the model's solver, gradient method and precision.

    The continuous reference is the `sufficient_reference`.

    Args:
        model: the model as trained; it is not changed.
        x: inputs, shape (N, d).
        y: targets, shape (N, k).
        loss: L; None: squared error.
        offset: f₀ on x, shape (N, k), if it is subtracted from the output; None: zero.
        max_steps: RK4 steps per unit of time at which the refinement ends.

    Raises:
        SolverFailure: one of the solves fails.

    Example:
        >>> import torch
        >>> from ntkode.integrate import Adjoint, Solver
        >>> from ntkode.models import NeuralODE
        >>> model = NeuralODE(3, 16, activation="tanh", solver=Solver("rk4", steps=10)).double()
        >>> x, y = torch.eye(3, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64)
        >>> errors = gradient_error(model, x, y)
        >>> errors.discrete.relative_error < 1e-12  # backpropagation is exact for its discrete solve
        True
        >>> 0 < errors.continuous.relative_error < 1e-3
        True
    """
    objective = Objective(loss or SquaredError(), x, y, offset)
    gradient = loss_gradient(model, objective)
    reference = sufficient_reference(model, objective, gradient, max_steps=max_steps)
    return GradientErrors(
        continuous=deviation(gradient, reference.gradient),
        discrete=deviation(gradient, discrete_gradient(model, objective)),
        reference_error=reference.error,
    )


def sufficient_reference(
    model: ODEModel, objective: Objective, gradient: Gradient, *, max_steps: int = 160
) -> ContinuousGradient:
    """First of the `refinements` whose error is below 2 % of the error of `gradient`, or below 1e-10.

    Args:
        model: the model; its parameters and horizon are used.
        objective: the loss.
        gradient: the gradient whose error is measured.
        max_steps: RK4 steps per unit of time at which the refinement ends.
    """
    for reference in refinements(model, objective, max_steps):
        if reference.error <= max(TOLERANCE, RESOLUTION * relative_error(gradient, reference.gradient)):
            break
    return reference
