"""Activations: elementwise functions φ with their derivative φ' and a computed profile."""

from ntkode.activations import functions  # noqa: F401  (fills the registry)
from ntkode.activations.piecewise_linear import PiecewiseLinear
from ntkode.activations.profile import Profile
from ntkode.activations.registry import Activation, derivative_of, from_callable, get, names, register

__all__ = [
    "Activation",
    "PiecewiseLinear",
    "Profile",
    "derivative_of",
    "from_callable",
    "get",
    "names",
    "register",
]
