"""The adjoint of a piecewise linear φ with φ' averaged in time: second order where others are of first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ntkode.integrate.fields import CountedField, LayeredField
from ntkode.integrate.first_order import first_order_only
from ntkode.integrate.kink_correction import KinkCorrected, corrected_steps, layers_of, midpoint, pieces_of
from ntkode.integrate.solver import Solver

# A further term of the exponential's series below this share of the adjoint is the last.
SERIES_TOLERANCE = 1e-10
MOST_TERMS = 40


@dataclass(frozen=True)
class KinkAveraged(KinkCorrected):
    """Adjoint of dh/dt = outer(φ(inner(t, h))) by active time fractions, for piecewise linear φ.

    Where a preactivation crosses a kink, φ' jumps. Sampling φ' at a step's stages misjudges the share of the
    step that lies on the other side: an error of order 1 in the gradient. Here the forward solve is
    `KinkCorrected`, and on each half of a step D is the mean of φ' along the straight line between the
    preactivations at its ends. With D constant the adjoint is exp(Δ/2 · (outer' D inner')ᵀ) λ, by its
    Taylor series, and ∂L/∂θ = ∫ (∂F/∂θ)ᵀ λ dt by Simpson's rule. Where no unit crosses, that is the exact
    flow's adjoint along the solver's states, with an error of order 4.

    With solver=rk4 the outputs are of order 3, the gradient of order 2. Memory: steps × state. Cost: a step
    takes two evaluations of the field beyond the solver's; its backward pass takes about ten products, two
    with the parameters' gradients. Beyond it are units that cross a kink twice within half a step, and units
    that end within the solver's error of a kink, where φ'(h(T)) in the readout is right or wrong altogether:
    with solver=euler and solver=midpoint these keep the order at 1.
    """

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m), differentiable in `state` and `parameters`."""
        if not torch.is_grad_enabled():  # keeps no states
            return super().flow(solver, field, state, horizon, parameters)
        final: Tensor = _Averaged.apply(solver, layers_of(field), horizon, state, *parameters)
        solver.check_finite(final, horizon)
        return first_order_only(final, "kink_averaged")


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
        times, states = zip(*corrected_steps(solver, field, state, horizon), strict=True)
        # Parameters too: autograd then sees to it that nobody changes them.
        ctx.save_for_backward(torch.stack(times), *states, *parameters)
        ctx.parts = field, parameters
        return states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        field, parameters = ctx.parts
        times, *states = ctx.saved_tensors[: len(ctx.saved_tensors) - len(parameters)]
        needed = [p for p in parameters if p.requires_grad]
        sweep = _Sweep(field, needed, times, states[0])
        adjoint = sweep.run(times, states, cotangents[0])
        gradients = iter(sweep.gradients)
        return (None,) * 3 + (adjoint, *(next(gradients) if p.requires_grad else None for p in parameters))


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
    def motion(self) -> tuple[Tensor, Tensor]:
        """(h, dh/dt), each of shape (N, m), detached from the graph."""
        return self.state, self.velocity.detach()

    @property
    def z(self) -> Tensor:
        """The preactivation inner(t, h), detached from the graph."""
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

    def run(self, times: Tensor, states: Sequence[Tensor], adjoint: Tensor) -> Tensor:
        """λ(0) from λ(T), with ∂L/∂θ accumulated during the sweep."""
        after = self._node(times[-1], states[-1])
        weight, slopes = times.new_zeros(()), torch.zeros_like(after.z)  # what the step after adds to a node
        for number in range(len(times) - 2, -1, -1):
            step = times[number + 1] - times[number]
            before = self._node(times[number], states[number])
            middle = self._node(
                torch.lerp(times[number], times[number + 1], 0.5),
                midpoint(times[number], times[number + 1], before.motion, after.motion),
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
            self._field.note_evaluations(1)
            return _Node(h, preactivation, self._field.outer(activated))

    def _transported(self, adjoint: Tensor, slope: Tensor, length: Tensor) -> Tensor:
        """exp(length · (outer' diag(slope) inner')ᵀ) λ."""
        total = term = adjoint
        for order in range(1, MOST_TERMS + 1):
            (pulled,) = torch.autograd.grad(self._outer, self._activated, term, retain_graph=True)
            (term,) = torch.autograd.grad(self._inner, self._state, slope * pulled, retain_graph=True)
            term = term * (length / order)
            total = total + term
            self._field.note_evaluations(1)
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
