"""Data sets under one contract: drawn, prepared and described the same way, whatever their source."""

from ntkode.data.checks import DataError
from ntkode.data.images import CIFAR10, MNIST, Digits
from ntkode.data.module import DataModule, Split
from ntkode.data.synthetic import Sine, Sphere, Spirals

__all__ = ["CIFAR10", "MNIST", "DataError", "DataModule", "Digits", "Sine", "Sphere", "Spirals", "Split"]
