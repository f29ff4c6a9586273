"""Adjoint for piecewise linear φ with time-averaged φ': order 2, where other methods have order 1."""

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

# The exponential series ends at the first term below this share of the adjoint.
SERIES_TOLERANCE = 1e-10
MAX_TERMS = 40


@dataclass(frozen=True)
class KinkAveraged(KinkCorrected):
    """Adjoint of dh/dt = outer(φ(inner(t, h))) for piecewise linear φ, with φ' averaged in time.

    At a crossing of a kink φ' jumps. Values of φ' at the stages of a step do not give the share of the step
    on either side of the kink, so the gradient has an error of order 1. Here the forward solve is
    `KinkCorrected`, and D is the mean of φ' on each half step, along the straight line between the
    preactivations at its ends. With constant D the adjoint after half a step of length Δ/2 is exp(Δ/2 ·
    (outer' D inner')ᵀ) λ, computed by its Taylor series; ∂L/∂θ = ∫ (∂F/∂θ)ᵀ λ dt uses Simpson's rule. Without
    crossings this is the adjoint of the exact flow along the solver's states, with an error of order 4.

    With solver=rk4 the outputs have order 3 and the gradient order 2. Memory: steps × state. Cost per step:
    two more evaluations of the field than the solver; backwards about ten products, two of them with the
    parameters. Not corrected: units that cross a kink twice within half a step, and units whose h(T) is
    within the solver's error of a kink, so that φ'(h(T)) in the readout may be wrong. With solver=euler and
    solver=midpoint the latter limit the order to 1.
    """

    def flow(
        self, solver: Solver, field: CountedField, state: Tensor, horizon: float, parameters: Sequence[Tensor]
    ) -> Tensor:
        """h(T), shape (N, m), differentiable in `state` and `parameters`."""
        if not torch.is_grad_enabled():  # stores no states
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
        # Saving the parameters makes autograd detect changes in place.
        ctx.save_for_backward(torch.stack(times), *states, *parameters)
        ctx.parts = field, parameters
        return states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        field, parameters = ctx.parts
        times, *states = ctx.saved_tensors[: len(ctx.saved_tensors) - len(parameters)]
        needed = [p for p in parameters if p.requires_grad]
        backward = _BackwardPass(field, needed, times, states[0])
        adjoint = backward.run(times, states, cotangents[0])
        gradients = iter(backward.gradients)
        return (None,) * 3 + (adjoint, *(next(gradients) if p.requires_grad else None for p in parameters))


@dataclass
class _Node:
    """Node of the quadrature in time.

    Attributes:
        state: h, shape (N, m).
        preactivation: z = inner(t, h), shape (N, units), with its graph.
        velocity: dh/dt, shape (N, m), with the graph of `outer` alone.
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
        """Preactivation inner(t, h), shape (N, units), detached from the graph."""
        return self.preactivation.detach()


class _BackwardPass:
    """One backward pass of `KinkAveraged`.

    Args:
        field: F, with its layers.
        parameters: parameters to differentiate.
        times: the grid, shape (steps + 1,).
        like: a state, for its shape and dtype.

    Attributes:
        gradients: the accumulated ∂L/∂θ, one tensor per parameter.
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
            # Both maps are affine: their transposes are the same at every point.
            self._state = torch.zeros_like(like).requires_grad_()
            self._inner = field.inner(times[0], self._state)
            self._activated = torch.zeros_like(self._inner).requires_grad_()
            self._outer = field.outer(self._activated)

    def run(self, times: Tensor, states: Sequence[Tensor], adjoint: Tensor) -> Tensor:
        """λ(0) from λ(T), both (N, m); accumulates ∂L/∂θ in `gradients`."""
        after = self._node(times[-1], states[-1])
        # Contributions of the following step to a node.
        weight, slopes = times.new_zeros(()), torch.zeros_like(after.z)
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
        for order in range(1, MAX_TERMS + 1):
            (pulled,) = torch.autograd.grad(self._outer, self._activated, term, retain_graph=True)
            (term,) = torch.autograd.grad(self._inner, self._state, slope * pulled, retain_graph=True)
            term = term * (length / order)
            total = total + term
            self._field.note_evaluations(1)
            if term.norm() <= self._tolerance * total.norm():
                break
        return total

    def _add(self, node: _Node, adjoint: Tensor, weight: Tensor, slopes: Tensor) -> None:
        """Add the contribution of a node to ∫ (∂F/∂θ)ᵀ λ dt.

        Args:
            node: the node.
            adjoint: λ at the node.
            weight: weight of the quadrature, a scalar.
            slopes: weight times φ', averaged over the half steps on both sides.
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
