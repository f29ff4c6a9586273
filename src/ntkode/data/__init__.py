"""Data sets with one interface: every source is sampled, prepared and described in the same steps."""

from ntkode.data.climate import DailyClimate
from ntkode.data.errors import DataError
from ntkode.data.images import CIFAR10, MNIST, Digits
from ntkode.data.module import DataModule, Split
from ntkode.data.synthetic import Sine, Sphere, Spirals
from ntkode.data.text import AGNews

__all__ = [
    "CIFAR10",
    "MNIST",
    "AGNews",
    "DailyClimate",
    "DataError",
    "DataModule",
    "Digits",
    "Sine",
    "Sphere",
    "Spirals",
    "Split",
]
