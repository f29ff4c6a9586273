"""Exact flow and gradient of a piecewise linear φ: matrix exponentials between located crossings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import expm

from ntkode.activations import PiecewiseLinear

# Time between two checks for crossings, which are then bisected; a unit that crosses twice between is missed.
LOOK = 1 / 400
# A unit has left its piece if it is this far outside; less is rounding at the last crossing.
SLACK = 1e-13
NODES, WEIGHTS = np.polynomial.legendre.leggauss(12)


@dataclass
class Segment:
    """A time interval in which no unit crosses a kink: dh/dt = W̃ (a∘h + c)."""

    start: np.ndarray
    length: float
    slopes: np.ndarray
    offsets: np.ndarray


def exact_gradient(model, objective):
    """∂L/∂θ of the exact flow of a `NeuralODE` in float64, by parameter; slow, for widths below 100."""
    n, d = model.W.shape[0], model.U.shape[1]
    weights = (model.W * model.sigma_w / math.sqrt(n)).detach().numpy()
    pieces = PiecewiseLinear.of(model.activation)
    starts = model.encode(objective.x).detach().numpy()
    flows = [segments(pieces, weights, start, model.horizon) for start in starts]
    ends = torch.tensor(np.stack([end for _, end in flows])).requires_grad_()
    f = model.readout(ends)
    if objective.offset is not None:
        f = f - objective.offset
    adjoints, v = torch.autograd.grad(objective.loss(f, objective.y), (ends, model.v))
    U, W = np.zeros((n, d)), np.zeros((n, n))
    for x, (path, _), adjoint in zip(objective.x.numpy(), flows, adjoints.numpy(), strict=True):
        for segment in reversed(path):
            W += integral(weights, segment, adjoint)
            adjoint = transported(weights, segment, adjoint, segment.length)
        U += np.outer(adjoint, x)
    scaled = {"U": U * model.sigma_u / math.sqrt(d), "W": W * model.sigma_w / math.sqrt(n)}
    return {"v": v} | {name: torch.tensor(value) for name, value in scaled.items()}


def segments(pieces, weights, state, horizon):
    """The segments and the final state h(T) of one sample."""
    places = np.array([place for place, _ in pieces.kinks])
    piece = (state[:, None] > places).sum(1)
    path, time = [], 0.0
    while time < horizon:
        slopes, offsets = line(pieces, piece)
        generator = affine(weights, slopes, offsets)
        length, unit = leave(generator, state, places, piece, horizon - time)
        path.append(Segment(state, length, slopes, offsets))
        state = moved(generator, state, length)
        time += length
        if unit is None:
            break
        upward = (weights @ (slopes * state + offsets))[unit] > 0
        piece[unit] += 1 if upward else -1
    return path, state


def line(pieces, piece):
    """The slope a and offset c of the piece of φ on which each unit lies."""
    places, jumps = (np.array(part) for part in zip(*pieces.kinks, strict=True))
    above = np.arange(len(places)) < piece[:, None]
    return pieces.slope + above @ jumps, pieces.offset - above @ (jumps * places)


def affine(weights, slopes, offsets):
    """The generator of the linear flow of (h, 1) on a segment."""
    n = len(weights)
    generator = np.zeros((n + 1, n + 1))
    generator[:n, :n] = weights * slopes
    generator[:n, n] = weights @ offsets
    return generator


def moved(generator, state, length):
    return (expm(length * generator) @ np.append(state, 1.0))[:-1]


def leave(generator, state, places, piece, most):
    """The time until the first unit leaves its piece, and that unit; (most, None) if none does."""
    low = np.append(-np.inf, places)[piece] - SLACK
    high = np.append(places, np.inf)[piece] + SLACK
    outside = lambda h: (h < low) | (h > high)  # noqa: E731
    step = expm(LOOK * generator)
    point, before = np.append(state, 1.0), 0.0
    while True:
        after = min(before + LOOK, most)
        point = step @ point
        if outside(moved(generator, state, after)).any():
            break
        if after == most:
            return most, None
        before = after
    for _ in range(60):
        middle = (before + after) / 2
        before, after = (
            (before, middle) if outside(moved(generator, state, middle)).any() else (middle, after)
        )
    return after, int(outside(moved(generator, state, after)).argmax())


def transported(weights, segment, adjoint, length):
    """The adjoint λ at the time `length` before the end of the segment."""
    return expm(length * (weights * segment.slopes).T) @ adjoint


def integral(weights, segment, adjoint):
    """∫ λ φ(h)ᵀ dt over the segment, by Gauss–Legendre quadrature; `adjoint` is λ at its end."""
    generator = affine(weights, segment.slopes, segment.offsets)
    total = np.zeros_like(weights)
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        time = segment.length * (node + 1) / 2
        state = moved(generator, segment.start, time)
        back = transported(weights, segment, adjoint, segment.length - time)
        total += segment.length / 2 * weight * np.outer(back, segment.slopes * state + segment.offsets)
    return total
