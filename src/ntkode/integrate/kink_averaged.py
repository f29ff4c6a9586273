"""The adjoint of a piecewise linear φ with φ' averaged in time: second order where others are of first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ntkode.activations import Activation, PiecewiseLinear
from ntkode.integrate.backprop import Backprop
from ntkode.integrate.fields import CountedField, LayeredField
from ntkode.integrate.gradient import GradientMethod
from ntkode.integrate.solver import Solver, Trajectory

# A further term of the exponential's series below this share of the adjoint is the last.
SERIES_TOLERANCE = 1e-10
MOST_TERMS = 40


@dataclass(frozen=True)
class KinkAveraged:
    """Adjoint of dh/dt = outer(φ(inner(t, h))) by active time fractions, for piecewise linear φ.

    Where a preactivation crosses a kink, φ' jumps: whoever samples it at a step's stages errs by the share of the
    step that lies on the other side, an error of order 1 in the gradient. Here the forward solve leaves its
    states h_k, midpoints come from the cubic Hermite formula, h_m = (h_k + h_{k+1})/2 + Δ(ḣ_k − ḣ_{k+1})/8, and
    on each half step D is the mean of φ' along the straight line between the preactivations at its ends. With
    D constant the adjoint is exp(Δ/2 · (outer' D inner')ᵀ) λ, a Taylor series to rounding, and
    ∂L/∂θ = ∫ (∂F/∂θ)ᵀ λ dt by Simpson's rule. Without a kink crossed, the adjoint is that of the exact flow along
    the solver's states.

    The gradient's error is of order 2 in the step, for the crossings, whatever the solver's own order above that
    (DESIGN §4; measured by tests/integrate). Memory: steps × state. Cost: the backward pass has about 10 products
    with the field's Jacobian a step, of which 3 with that of the parameters. Any solver will do: an adaptive one's
    accepted steps are the grid. A unit that crosses a kink twice within half a step, or ends within the
    solver's error of a kink (where φ'(h(T)) in the readout is right or wrong altogether), is beyond it.
    """

    reverses_time: ClassVar[bool] = False

    @property
    def exact(self) -> GradientMethod:
        """Backpropagation through the same forward solve."""
        return Backprop()

    def check(self, solver: Solver, activation: Activation) -> None:
        """φ must be piecewise linear.

        Raises:
            ValueError: it is not.
        """
        pieces_of(activation)

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m), differentiable in `state` and `parameters`.

        Raises:
            TypeError: the field does not tell its layers.
        """
        if not isinstance(field, LayeredField):
            raise TypeError("kink_averaged needs a LayeredField: what φ is applied to, φ, and what follows")
        final: Tensor = _Averaged.apply(solver, field, horizon, state, *parameters)
        return final


def pieces_of(activation: Activation) -> PiecewiseLinear:
    """φ as a piecewise linear function.

    Raises:
        ValueError: it is none, or has no kink.
    """
    pieces = PiecewiseLinear.of(activation)
    if pieces is None:
        raise ValueError(
            f"gradient=kink_averaged is for piecewise linear activations with a kink, and {activation.name} is none: "
            "take activation=relu (leaky_relu, relu6, hardtanh, hard_sigmoid), or gradient=backprop"
        )
    return pieces


class _Averaged(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        solver: Solver,
        field: LayeredField,
        horizon: float,
        state: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        trajectory = solver.trajectory(field, state, horizon)
        ctx.save_for_backward(trajectory.times, *trajectory.states)
        ctx.parts = field, parameters
        return trajectory.states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        field, parameters = ctx.parts
        times, *states = ctx.saved_tensors
        needed = [p for p in parameters if p.requires_grad]
        sweep = _Sweep(field, needed, times, states[0])
        adjoint = sweep.run(Trajectory(times, states), cotangents[0])
        found = iter(sweep.gradients)
        return (None,) * 3 + (adjoint, *(next(found) if p.requires_grad else None for p in parameters))


@dataclass
class _Node:
    """A point of the quadrature.

    Attributes:
        state: h.
        preactivation: inner(t, h), with its graph.
        velocity: dh/dt, with its graph from φ's values on.
    """

    state: Tensor
    preactivation: Tensor
    velocity: Tensor

    @property
    def z(self) -> Tensor:
        """The preactivation as a number."""
        return self.preactivation.detach()


class _Sweep:
    """One backward pass.

    Args:
        field: F in layers.
        parameters: those to differentiate.
        times: the grid.
        like: a state.

    Attributes:
        gradients: ∂L/∂θ so far, a parameter each.
    """

    def __init__(
        self, field: LayeredField, parameters: Sequence[Tensor], times: Tensor, like: Tensor
    ) -> None:
        self._field = field
        self._parameters = tuple(parameters)
        self._pieces = pieces_of(field.activation)
        self._tolerance = max(SERIES_TOLERANCE, torch.finfo(like.dtype).eps)
        self.gradients = [torch.zeros_like(p) for p in parameters]
        with torch.enable_grad():
            # Both maps are affine: their transposes are the same wherever they are taken.
            self._state = torch.zeros_like(like).requires_grad_()
            self._inner = field.inner(times[0], self._state)
            self._activated = torch.zeros_like(self._inner).requires_grad_()
            self._outer = field.outer(self._activated)

    def run(self, trajectory: Trajectory, adjoint: Tensor) -> Tensor:
        """λ(0) from λ(T), with ∂L/∂θ added up on the way."""
        times, states = trajectory
        after = self._node(times[-1], states[-1])
        weight, slopes = times.new_zeros(()), torch.zeros_like(after.z)  # what the step after adds to a node
        for number in range(len(times) - 2, -1, -1):
            step = times[number + 1] - times[number]
            before = self._node(times[number], states[number])
            middle = self._node(
                torch.lerp(times[number], times[number + 1], 0.5),
                torch.lerp(before.state, after.state, 0.5)
                + step / 8 * (before.velocity - after.velocity).detach(),
            )
            late = self._pieces.mean_slope(middle.z, after.z)
            early = self._pieces.mean_slope(before.z, middle.z)
            self._add(after, adjoint, weight + step / 6, slopes + step / 6 * late)
            adjoint = self._transported(adjoint, late, step / 2)
            self._add(middle, adjoint, step * (2 / 3), step / 3 * (late + early))
            adjoint = self._transported(adjoint, early, step / 2)
            weight, slopes = step / 6, step / 6 * early
            after = before
            self._field.note_step()
        self._add(after, adjoint, weight, slopes)
        return adjoint

    def _node(self, t: Tensor, h: Tensor) -> _Node:
        with torch.enable_grad():
            preactivation = self._field.inner(t, h)
            activated = self._field.activation(preactivation.detach())
            self._field.note_products(1)
            return _Node(h, preactivation, self._field.outer(activated))

    def _transported(self, adjoint: Tensor, slope: Tensor, length: Tensor) -> Tensor:
        """exp(length · (outer' diag(slope) inner')ᵀ) λ."""
        total = term = adjoint
        for order in range(1, MOST_TERMS + 1):
            (pulled,) = torch.autograd.grad(self._outer, self._activated, term, retain_graph=True)
            (term,) = torch.autograd.grad(self._inner, self._state, slope * pulled, retain_graph=True)
            term = term * (length / order)
            total = total + term
            self._field.note_products(1)
            if term.norm() <= self._tolerance * total.norm():
                break
        return total

    def _add(self, node: _Node, adjoint: Tensor, weight: Tensor, slopes: Tensor) -> None:
        """Add a node's part of ∫ (∂F/∂θ)ᵀ λ dt.

        Args:
            node: the point.
            adjoint: λ there.
            weight: of the quadrature, a scalar.
            slopes: weight times φ', averaged on either side.
        """
        if not self._parameters:
            return
        outputs, cotangents = [], []
        if node.velocity.requires_grad:
            outputs.append(node.velocity)
            cotangents.append(weight * adjoint)
        if node.preactivation.requires_grad:
            (pulled,) = torch.autograd.grad(self._outer, self._activated, adjoint, retain_graph=True)
            outputs.append(node.preactivation)
            cotangents.append(slopes * pulled)
        parts = torch.autograd.grad(outputs, self._parameters, cotangents, allow_unused=True)
        for total, part in zip(self.gradients, parts, strict=True):
            if part is not None:
                total += part
