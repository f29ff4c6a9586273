"""Reference gradients and the training gradient's errors."""

from ntkode.gradients.errors import Deviation, GradientErrors, deviation, gradient_error
from ntkode.gradients.reference import (
    ContinuousGradient,
    Gradient,
    Objective,
    continuous_gradient,
    discrete_gradient,
    loss_gradient,
)

__all__ = [
    "ContinuousGradient",
    "Deviation",
    "Gradient",
    "GradientErrors",
    "Objective",
    "continuous_gradient",
    "deviation",
    "discrete_gradient",
    "gradient_error",
    "loss_gradient",
]
