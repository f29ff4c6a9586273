"""ODE solvers, and methods that differentiate their solutions."""

from ntkode.integrate.adjoint import Adjoint, SeminormAdjoint
from ntkode.integrate.backprop import Backprop
from ntkode.integrate.checkpointed import Checkpointed
from ntkode.integrate.failures import (
    NonFiniteState,
    SolverFailure,
    StepUnderflow,
    TooManySteps,
    typed_failures,
)
from ntkode.integrate.fields import CountedField, Field, LayeredField, Pass, SolveCost
from ntkode.integrate.gradient import GradientMethod
from ntkode.integrate.kink_averaged import KinkAveraged
from ntkode.integrate.reversible import Reversible
from ntkode.integrate.solver import ADAPTIVE, FIXED_STEP, Solver
from ntkode.integrate.tableaux import TABLEAUX

__all__ = [
    "ADAPTIVE",
    "FIXED_STEP",
    "TABLEAUX",
    "Adjoint",
    "Backprop",
    "Checkpointed",
    "CountedField",
    "Field",
    "GradientMethod",
    "KinkAveraged",
    "LayeredField",
    "NonFiniteState",
    "Pass",
    "Reversible",
    "SeminormAdjoint",
    "SolveCost",
    "Solver",
    "SolverFailure",
    "StepUnderflow",
    "TooManySteps",
    "typed_failures",
]
