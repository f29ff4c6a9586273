"""Compression of recorded calls: the calls of one weight are smooth in time, hence nearly dependent.

The inputs a_c and cotangents g_c of a solve's calls c = 1, …, C change little from call to call. With SVDs
A = V_a Σ_a Y_a and G = V_g Σ_g Y_g over the calls (rows: calls; columns: samples and features),

    Σ_c g_c a_c^T = Σ_{s,r} K_sr y^g_s (y^a_r)^T,      K = Σ_g V_g^T V_a Σ_a,

and K's singular values decay like the products of those of A and G: four to six terms replace the 40 calls of
ten RK4 steps with a smooth φ. The terms are the singular pairs of K.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkode.ntk.empirical.recording import Calls
from ntkode.ntk.sums import cumulative_sum

# Numbers per call to which the bases are fitted, and bounds on the number of samples.
FIT_NUMBERS, FIT_SAMPLES = 32_768, (8, 64)
# Number of random functionals z^T J w that estimate the norm of an error of J, to a factor of 1.5.
PROBES = 16
# Numbers per call that are mixed at a time: seven times faster on a CPU than all at once, slower on a GPU.
COLUMNS, GPU_COLUMNS = 16_384, 2**22


@dataclass(frozen=True)
class Basis:
    """Linear map from the C calls of one weight to R terms with the same sum of outer products.

    Attributes:
        inputs: shape (C, R), float64: term r has input Σ_c inputs[c, r] a_c.
        cotangents: shape (C, R), float64: term r has cotangent Σ_c cotangents[c, r] g_c.
        singular_values: all singular values of K, descending; the first R are kept.
    """

    inputs: Tensor
    cotangents: Tensor
    singular_values: Tensor

    @property
    def rank(self) -> int:
        """R, the number of terms that replace the recorded calls."""
        return self.inputs.shape[1]

    @property
    def tail(self) -> float:
        """Relative norm of the omitted singular values: an estimate of the relative error of J."""
        total = self.singular_values.norm()
        return float(self.singular_values[self.rank :].norm() / total) if total > 0 else 0.0

    def __call__(self, calls: Calls) -> Calls:
        """The R terms of `calls`, float64."""
        return Calls(
            calls.layer, _mixed(self.inputs, calls.inputs), _mixed(self.cotangents, calls.cotangents)
        )


@dataclass(frozen=True)
class CompressionError:
    """Estimated relative error of J by compression, over samples i.

    Attributes:
        rms: √(Σ_i ‖J_i − J_i^R‖² / Σ_i ‖J_i‖²).
        worst: max_i ‖J_i − J_i^R‖ / rms_i ‖J_i‖; overestimated up to threefold with many samples.
    """

    rms: float
    worst: float


def error(calls: Calls, terms: Calls) -> CompressionError:
    """Error of replacing `calls` by `terms`, from random functionals of each sample's derivative."""
    exact = _probed(calls)
    wrong = (exact - _probed(terms)).square().mean(0)  # (K, N)
    size = float(exact.square().mean())
    if size == 0:
        return CompressionError(0.0, 0.0)
    return CompressionError(
        rms=math.sqrt(float(wrong.mean()) / size), worst=math.sqrt(float(wrong.mean(0).max()) / size)
    )


def fit(calls: Calls, tolerance: float) -> Basis:
    """Smallest basis with a relative tail below half the tolerance, fitted to the calls of some samples.

    Args:
        calls: calls of N samples whose inputs and cotangents span those of other samples.
        tolerance: bound on the relative error of J.
    """
    left_a, values_a = _over_calls(calls.inputs)
    left_g, values_g = _over_calls(calls.cotangents)
    core = values_g[:, None] * (left_g.T @ left_a) * values_a
    p, singular_values, q = torch.linalg.svd(core, full_matrices=False)
    tails = cumulative_sum(singular_values.square().flip(0), 0).flip(0).sqrt()
    rank = max(1, int((tails > 0.5 * tolerance * tails[0]).sum()))
    return Basis(
        inputs=_quotient(left_a, values_a) @ q.T[:, :rank],
        cotangents=_quotient(left_g, values_g) @ p[:, :rank] * singular_values[:rank],
        singular_values=singular_values,
    )


def samples(calls: Calls) -> Calls:
    """The calls of as many samples as a fit needs, evenly spaced."""
    rows = calls.inputs.shape[1]
    numbers = max(calls.inputs[0, 0].numel(), calls.cotangents[0, :, 0].numel())
    minimum, maximum = FIT_SAMPLES
    wanted = min(rows, max(minimum, min(maximum, FIT_NUMBERS // numbers)))
    return rows_of(calls, torch.linspace(0, rows - 1, wanted).long())


def rows_of(calls: Calls, index: Tensor) -> Calls:
    """The calls of the samples with these indices."""
    index = index.to(calls.inputs.device)
    return Calls(calls.layer, calls.inputs[:, index], calls.cotangents[:, :, index])


def _over_calls(recorded: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors (C, R) and singular values (R,) over the calls that exceed rounding.

    Computed by QR: eigenvalues of the Gram matrix resolve singular values only to √ε.
    """
    matrix = recorded.double().flatten(1).T
    triangle = torch.linalg.qr(matrix, mode="r")[1]
    left, values, _ = torch.linalg.svd(triangle.T, full_matrices=False)
    significant = values > len(values) * torch.finfo(torch.float64).eps * values[0]
    significant[0] = True  # if all are zero: one zero term
    return left[:, significant], values[significant]


def _quotient(left: Tensor, values: Tensor) -> Tensor:
    """left/values; 0 for a value of 0, because a large number in its place overflows for other samples."""
    return torch.where(values > 0, left / values, 0.0)


def _mixed(weights: Tensor, recorded: Tensor) -> Tensor:
    """Σ_c weights[c, r] recorded[c], float64; by columns, so that their float64 copies stay in cache."""
    flat, weights = recorded.flatten(1), weights.to(recorded.device)  # the weights may come from another rank
    mixed = weights.new_empty(weights.shape[1], flat.shape[1])
    width = COLUMNS if flat.device.type == "cpu" else GPU_COLUMNS
    for start in range(0, flat.shape[1], width):
        columns = slice(start, start + width)
        torch.mm(weights.T, flat[:, columns].double(), out=mixed[:, columns])
    return mixed.unflatten(1, recorded.shape[1:])


def _probed(calls: Calls) -> Tensor:
    """z^T J_i w for random z and w, shape (PROBES, K, N), float64; products in the calls' dtype."""
    generator = torch.Generator().manual_seed(0)
    a = calls.layer.patches(calls.inputs.flatten(0, 1))  # (groups, positions, C·N, p)
    g = calls.layer.channels(calls.cotangents.flatten(0, 2))  # (groups, positions, C·K·N, q)
    w, z = (torch.randn(len(t), t.shape[-1], PROBES, generator=generator).to(t) for t in (a, g))
    heads = (a @ w[:, None]).unflatten(2, (len(calls.inputs), 1, -1)).double()
    tails = (g @ z[:, None]).unflatten(2, calls.cotangents.shape[:3]).double()
    return torch.einsum("blcknr,blcknr->rkn", heads.expand_as(tails), tails)
