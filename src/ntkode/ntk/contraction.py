"""From recorded linear calls to kernel blocks: two exact ways that differ in cost."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ntkode.ntk.recording import LinearCalls


def pairs(
    a1: Sequence[Tensor], g1: Sequence[Tensor], a2: Sequence[Tensor], g2: Sequence[Tensor], bias: bool
) -> Tensor:
    """Σ_{c,c'} (A_c A_c'^T + bias) ∘ (G_c G_c'^T), shape (N1, N2); about 2 C² N1 N2 (p + q) flops.

    Args:
        a1: inputs of the first set's calls, each (N1, p).
        g1: cotangents of the first set's calls, each (N1, q).
        a2: inputs of the second set's calls, each (N2, p).
        g2: cotangents of the second set's calls, each (N2, q).
        bias: whether every call adds a bias.
    """
    all_a, all_g = torch.cat(list(a2)), torch.cat(list(g2))
    kernel = a1[0].new_zeros(len(a1[0]), len(a2[0]))
    for a, g in zip(a1, g1, strict=True):
        product = (a @ all_a.T + float(bias)) * (g @ all_g.T)
        kernel += product.unflatten(1, (len(a2), -1)).sum(1)
    return kernel


def build(
    a1: Sequence[Tensor], g1: Sequence[Tensor], a2: Sequence[Tensor], g2: Sequence[Tensor], bias: bool
) -> Tensor:
    """The same as `pairs` through per-sample gradients J_i = Σ_c g_ci a_ci^T, shape (N, q, p).

    About 2 C (N1 + N2) p q + 2 N1 N2 p q flops, and (N1 + N2) p q numbers of memory.
    """
    first = _per_sample_gradients(a1, g1, bias)
    second = first if a2 is a1 and g2 is g1 else _per_sample_gradients(a2, g2, bias)
    return first @ second.T


def _per_sample_gradients(inputs: Sequence[Tensor], cotangents: Sequence[Tensor], bias: bool) -> Tensor:
    a, g = torch.stack(list(inputs)), torch.stack(list(cotangents))
    if bias:
        a = torch.cat([a, a.new_ones(*a.shape[:2], 1)], dim=2)
    return torch.einsum("cnq,cnp->nqp", g, a).flatten(1)


# Per-sample gradients larger than this are not built, however many flops that would save.
MOST_BYTES = 2**30


def cheaper(first: LinearCalls, second: LinearCalls) -> str:
    """`pairs` or `build`, whichever takes fewer flops for these calls of one weight within `MOST_BYTES`."""
    calls, (rows1, p) = len(first.inputs), first.inputs[0].shape
    rows2, q = len(second.inputs[0]), first.cotangents[0][0].shape[1]
    flops_pairs = 2 * calls**2 * rows1 * rows2 * (p + q)
    flops_build = 2 * calls * (rows1 + rows2) * p * q + 2 * rows1 * rows2 * p * q
    bytes_build = (rows1 + rows2) * p * q * first.inputs[0].element_size()
    return "pairs" if flops_pairs <= flops_build or bytes_build > MOST_BYTES else "build"
