"""Reference gradients, and the errors of the training gradient."""

from ntkode.gradients.decomposition import Decomposition, Part, decompose
from ntkode.gradients.errors import (
    Deviation,
    GradientErrors,
    deviation,
    gradient_error,
    sufficient_reference,
)
from ntkode.gradients.memory import allocated_peak, cuda_peak
from ntkode.gradients.reference import (
    ContinuousGradient,
    Gradient,
    Objective,
    continuous_gradient,
    discrete_gradient,
    fine_twin,
    loss_gradient,
)

__all__ = [
    "ContinuousGradient",
    "Decomposition",
    "Deviation",
    "Gradient",
    "GradientErrors",
    "Objective",
    "Part",
    "allocated_peak",
    "continuous_gradient",
    "cuda_peak",
    "decompose",
    "deviation",
    "discrete_gradient",
    "fine_twin",
    "gradient_error",
    "loss_gradient",
    "sufficient_reference",
]
