"""Kernel blocks from per-sample derivatives, in factorised or dense form.

For one weight, J_i = Σ_t g_ti a_ti^T over T terms (calls, positions, or their compression). Two exact
methods: `pairs` sums (A_t A_t'^T) ∘ (G_t G_t'^T) over t, t' and never forms J; `build` forms J once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# Bounds on ‖A_t‖‖G_t‖‖A_t'‖‖G_t'‖, relative to the largest pair of terms. A pair below the first bound is
# rounding; below the second, float32 arithmetic (6e-8) changes less than 1e-11 of the kernel.
NEGLIGIBLE, LIGHT = 1e-15, 1e-4
# Rows of the kernel per tile: their products stay in a core's cache.
TILE = 128


@dataclass(frozen=True)
class OuterProducts:
    """Derivatives J_i = Σ_t g_ti a_ti^T of one weight, factorised.

    Attributes:
        inputs: a, shape (groups, T, N, p).
        cotangents: g, shape (groups, T, M, N, q): M separate outputs; summed outputs are part of q.
    """

    inputs: Tensor
    cotangents: Tensor

    @cached_property
    def weights(self) -> Tensor:
        """‖A_t‖ ‖G_t‖ of each term, shape (T,), float64."""
        return _norms(self.inputs) * _norms(self.cotangents)

    @cached_property
    def single(self) -> OuterProducts:
        """The outer products in float32."""
        return OuterProducts(self.inputs.float(), self.cotangents.float())


@dataclass(frozen=True)
class Gradients:
    """Derivatives J_i of one parameter, dense.

    Attributes:
        values: shape (M, N, size); summed outputs are part of `size`.
    """

    values: Tensor


Factor = OuterProducts | Gradients


def _norms(terms: Tensor) -> Tensor:
    return terms.transpose(0, 1).flatten(1).norm(dim=1).double()


def build(terms: OuterProducts) -> Gradients:
    """Dense J from the outer products: 2 T M N p q flops, M N p q numbers."""
    j = torch.einsum("btmnq,btnp->mnbqp", terms.cotangents, terms.inputs)
    return Gradients(j.flatten(2))


def contract(first: Factor, second: Factor, kernel: Tensor, *, mixed: bool = False) -> None:
    """Add J₁ J₂^T to `kernel`, tile by tile; half the work if `first is second`.

    Args:
        first: derivatives of N1 samples.
        second: derivatives of N2 samples, of the same parameter and kind.
        kernel: shape (M, N1, M, N2), changed in place.
        mixed: whether pairs of terms with small norms may be multiplied in float32.
    """
    symmetric = first is second
    rows, tile = kernel.shape[1], max(1, TILE // kernel.shape[0])
    for start in range(0, rows, tile):
        here = slice(start, start + tile)
        there = slice(start, None) if symmetric else slice(None)
        if isinstance(first, OuterProducts) and isinstance(second, OuterProducts):
            block = pairs(first, second, here, there, mixed)
        elif isinstance(first, Gradients) and isinstance(second, Gradients):
            left, right = first.values[:, here], second.values[:, there]
            block = (left.flatten(0, 1) @ right.flatten(0, 1).T).view(*left.shape[:2], *right.shape[:2])
        else:
            raise TypeError(f"a kernel of {type(first).__name__} with {type(second).__name__}")
        if symmetric:
            # The transposed block differs by rounding alone; the average is exactly symmetric.
            diagonal = block[:, :, :, :tile]
            diagonal.copy_((diagonal + diagonal.permute(2, 3, 0, 1)) / 2)
        kernel[:, here, :, there] += block
        if symmetric:
            below = block[:, :, :, tile:]
            kernel[:, start + tile :, :, here] += below.permute(2, 3, 0, 1)


def pairs(first: OuterProducts, second: OuterProducts, here: slice, there: slice, mixed: bool) -> Tensor:
    """Σ_{t,t'} (A_t A_t'^T) ∘ (G_t G_t'^T) for the samples `here` and `there`, shape (M, rows, M, columns).

    2 T² rows·columns (p + M² q) flops, fewer if pairs of terms have small norms.
    """
    weights = first.weights[:, None] * second.weights
    heaviest = weights.max()
    light = (weights <= LIGHT * heaviest) if mixed else torch.zeros_like(weights, dtype=torch.bool)
    due = weights > NEGLIGIBLE * heaviest
    total = _sum_over(first, second, (due & ~light).nonzero().tolist(), here, there)
    if bool((due & light).any()):
        total += _sum_over(first.single, second.single, (due & light).nonzero().tolist(), here, there)
    return total


def _sum_over(
    first: OuterProducts, second: OuterProducts, due: list[list[int]], here: slice, there: slice
) -> Tensor:
    a1, a2 = first.inputs[:, :, here], second.inputs[:, :, there]
    g1, g2 = first.cotangents[..., here, :], second.cotangents[..., there, :]
    m, rows, columns = g1.shape[2], a1.shape[2], a2.shape[2]
    total = a1.new_zeros(m, rows, m, columns)
    of_inputs = a1.new_empty(rows, columns)
    of_cotangents = a1.new_empty(m * rows, m * columns)
    for group in range(len(a1)):
        for t, u in due:
            torch.mm(a1[group, t], a2[group, u].T, out=of_inputs)
            torch.mm(g1[group, t].flatten(0, 1), g2[group, u].flatten(0, 1).T, out=of_cotangents)
            total.addcmul_(of_cotangents.view_as(total), of_inputs[:, None])
    return total
