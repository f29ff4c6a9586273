"""Fixed-step solve for piecewise linear φ, corrected at crossings of a kink."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ntkode.activations import Activation, PiecewiseLinear
from ntkode.integrate.fields import CountedField, LayeredField
from ntkode.integrate.gradient import GradientMethod
from ntkode.integrate.solver import Solver
from ntkode.integrate.stepping import Steps, require_one_step
from ntkode.integrate.tableaux import TABLEAUX


@dataclass(frozen=True)
class KinkCorrected(GradientMethod):
    """Autograd through the corrected steps, which are the forward pass of `KinkAveraged`.

    A step of dh/dt = outer(φ(z)), z = inner(t, h), adds outer'·∫φ(z)dt to h. For a unit whose z crosses a
    kink the solver's quadrature of that integral has an error of order 2. After each step of the solver the
    midpoint is interpolated, h_m = (h_k + h_{k+1})/2 + Δ(ḣ_k − ḣ_{k+1})/8. For units that cross, the solver's
    quadrature is replaced by the integral of φ along the parabola through z_k, z_m and z_{k+1}: exact along
    its chords, with the mean of φ' between chord and parabola. Without crossings the step equals that of the
    solver to the last bit.
    """

    @property
    def exact(self) -> GradientMethod:
        """This method: autograd through the same steps."""
        return KinkCorrected()

    def check(self, solver: Solver, field: CountedField) -> None:
        """Require a `LayeredField` with piecewise linear φ and a fixed-step one-step solver.

        Raises:
            ValueError: the field or the solver is of another kind.
        """
        pieces_of(layers_of(field).activation)
        require_one_step(solver, "kink_averaged", "backprop")

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m); autograd records the corrected steps."""
        final = state
        for _, after in corrected_steps(solver, layers_of(field), state, horizon):
            final = after
        solver.check_finite(final, horizon)
        return final


def layers_of(field: CountedField) -> LayeredField:
    """The field, if it is a `LayeredField`.

    Raises:
        ValueError: the field does not expose its layers.
    """
    if isinstance(field, LayeredField):
        return field
    raise ValueError(
        "gradient=kink_averaged needs a vector field outer(φ(inner(t, h))) that exposes its layers, as "
        "ntkode.models.LayeredODEModel does: use such a model, or gradient=backprop"
    )


def pieces_of(activation: Activation) -> PiecewiseLinear:
    """φ as a `PiecewiseLinear` function.

    Raises:
        ValueError: φ is not piecewise linear, or has no kink.
    """
    pieces = PiecewiseLinear.of(activation)
    if pieces is None:
        raise ValueError(
            f"gradient=kink_averaged needs a piecewise linear activation with a kink, not {activation.name}: "
            "use activation=relu (leaky_relu, relu6, hardtanh, hard_sigmoid), or gradient=backprop"
        )
    return pieces


def corrected_steps(
    solver: Solver, field: LayeredField, state: Tensor, horizon: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """(t, h) at the start and after every step."""
    steps, pieces = Steps(solver, field, state, horizon), pieces_of(field.activation)
    matrix, weights = TABLEAUX[solver.method]
    nodes = [sum(row) for row in matrix]
    times = steps.times
    still = field.outer(torch.zeros_like(field.inner(times[0], state[:1])))
    velocity = field(times[0], state)
    yield times[0], state
    for start, end in pairwise(times):
        guess = state + steps.increment(start, end, state)
        velocity_after = field(end, guess)
        middle = midpoint(start, end, (state, velocity), (guess, velocity_after))
        points = [
            field.inner(t, h)
            for t, h in ((start, state), (torch.lerp(start, end, 0.5), middle), (end, guess))
        ]
        correction = _correction(pieces, points, nodes, weights)
        state = guess + (end - start) * (field.outer(correction) - still)
        velocity = velocity_after
        field.note_evaluations(1)
        field.note_step()
        yield end, state


def midpoint(
    start: Tensor, end: Tensor, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]
) -> Tensor:
    """State (N, m) in the middle of a step by cubic Hermite interpolation of (h, dh/dt) at its ends."""
    (h, velocity), (h_after, velocity_after) = before, after
    return torch.lerp(h, h_after, 0.5) + (end - start) / 8 * (velocity - velocity_after)


def _correction(
    pieces: PiecewiseLinear, points: Sequence[Tensor], nodes: Sequence[float], weights: Sequence[float]
) -> Tensor:
    """Integral of φ over a step of length 1 minus its quadrature; 0 for units without a crossing."""
    crossing = pieces.crosses(points[0], points[1]) | pieces.crosses(points[1], points[2])
    crossed = crossing.nonzero(as_tuple=True)
    a, m, b = (point[crossed] for point in points)
    # The mean difference of the parabola from its chord on a half step is (a − 2m + b)/12.
    bulge = (a - 2 * m + b) / 12
    integral = torch.zeros_like(a)
    for start, end in ((a, m), (m, b)):
        integral = integral + (pieces.mean_value(start, end) - pieces.mean_slope(start, end) * bulge) / 2
    for node, weight in zip(nodes, weights, strict=True):
        parabola = (1 - node) * (1 - 2 * node) * a + 4 * node * (1 - node) * m + node * (2 * node - 1) * b
        integral = integral - weight * pieces.function(parabola)
    return torch.zeros_like(points[0]).index_put(crossed, integral)
