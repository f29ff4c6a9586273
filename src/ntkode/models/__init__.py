"""Neural ODEs and their discrete twin."""

from ntkode.models.base import ODEModel
from ntkode.models.neural_ode import NeuralODE
from ntkode.models.resnet import ResNet
from ntkode.models.vector_fields import MLPODE, AugmentedODE, TimeDependentODE

__all__ = ["MLPODE", "AugmentedODE", "NeuralODE", "ODEModel", "ResNet", "TimeDependentODE"]
