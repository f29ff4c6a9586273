"""Neural ODEs, and the residual network that is their Euler discretisation."""

from ntkode.models.base import LayeredODEModel, ODEModel
from ntkode.models.conv_ode import ConvODE
from ntkode.models.neural_ode import NeuralODE
from ntkode.models.resnet import ResNet
from ntkode.models.vector_fields import MLPODE, AugmentedODE, TimeDependentODE

__all__ = [
    "MLPODE",
    "AugmentedODE",
    "ConvODE",
    "LayeredODEModel",
    "NeuralODE",
    "ODEModel",
    "ResNet",
    "TimeDependentODE",
]
