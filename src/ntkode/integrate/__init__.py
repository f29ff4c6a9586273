"""ODE solvers and gradient methods."""

from ntkode.integrate.adjoint import Adjoint
from ntkode.integrate.backprop import Backprop
from ntkode.integrate.failures import (
    NonFiniteState,
    SolverFailure,
    StepUnderflow,
    TooManySteps,
    typed_failures,
)
from ntkode.integrate.gradient import CountedField, GradientMethod
from ntkode.integrate.solver import ADAPTIVE, FIXED_STEP, Field, Solver

__all__ = [
    "ADAPTIVE",
    "FIXED_STEP",
    "Adjoint",
    "Backprop",
    "CountedField",
    "Field",
    "GradientMethod",
    "NonFiniteState",
    "Solver",
    "SolverFailure",
    "StepUnderflow",
    "TooManySteps",
    "typed_failures",
]
