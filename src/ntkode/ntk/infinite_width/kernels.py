"""Infinite-width limits of the Neural ODE and of its discretisations: NNGP and NTK kernels.

With K0 = σ_u² x·x'/d and Φ, Φ' the dual activations (`duals.dispatch`), for each pair x, x':

    K(s, t) = K0 + σ_w² ∫₀ˢ∫₀ᵗ Φ(v(a), v'(b), K(a, b)) db da,      v(a) = K(a, a; x, x)
    Θ(s, t) = K0 + σ_w² ∫₀ˢ∫₀ᵗ [Φ + Φ'·Θ] db da
    NNGP = σ_v² Φ(T, T),      NTK = σ_v² [Φ(T, T) + Φ'(T, T)·Θ(T, T)].
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import psutil
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from ntkode import activations
from ntkode.activations import Activation
from ntkode.activations.smoothness import grid
from ntkode.checks import count, nonnegative, positive
from ntkode.ntk.infinite_width.assembly import Assembly, Symmetries
from ntkode.ntk.infinite_width.continuum import BlowUpError, Continuum
from ntkode.ntk.infinite_width.discrete_time import EulerNetwork, RungeKuttaSolve
from ntkode.ntk.infinite_width.duals.dispatch import dual_activation
from ntkode.ntk.infinite_width.input_geometry import InputGeometry
from ntkode.ntk.infinite_width.pair_kernel import PairKernel
from ntkode.ntk.infinite_width.time_rules import RungeKutta

__all__ = ["BlowUpError", "Kernels", "RungeKutta", "infinite_width_kernels"]

_BYTES_PER_PAIR = 4096  # temporaries of a block, without the results
_MAX_PAIRS_PER_BLOCK = 2**15  # larger blocks exceed the caches
_MANY_PAIRS = 10**6  # shows a progress bar


@dataclass(frozen=True)
class Kernels:
    """Infinite-width kernels, with their estimated error.

    Attributes:
        nngp: covariance of one output at initialisation, shape (N1, N2), float64, on the inputs' device.
        ntk: Neural Tangent Kernel of one output, of the same shape, dtype and device.
        error: estimated largest error of an entry of either, relative to the NTK's entry if that exceeds one.
    """

    nngp: Tensor
    ntk: Tensor
    error: float


def infinite_width_kernels(
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    activation: Activation | str,
    horizon: float = 1.0,
    sigma_u: float = 1.0,
    sigma_w: float = 1.0,
    sigma_v: float = 1.0,
    depth: int | None = None,
    tableau: RungeKutta | None = None,
    tolerance: float = 1e-8,
    max_bytes: int | None = None,
    progress: bool | None = None,
) -> Kernels:
    """NNGP and NTK between the rows of x1 and x2 (default: x1) in the limit n → ∞ of the width.

    With many pairs the kernels are interpolated in the norms and angles of the inputs, if the error at
    held-out pairs is within the tolerance; otherwise each pair is solved.

    Args:
        x1: inputs of shape (N1, d), any floating dtype.
        x2: inputs of shape (N2, d).
        activation: φ, or its registered name.
        horizon: T. The kernels depend on σ_w·T alone.
        sigma_u: σ_u > 0.
        sigma_w: σ_w ≥ 0.
        sigma_v: σ_v ≥ 0.
        depth: L, for the limit of `ResNet` with L Euler steps; None: the exact flow.
        tableau: `RungeKutta.of(solver)`, for the limit of the network discretised by that solver.
        tolerance: error bound of the entries, absolute, and relative to the NTK's entry if that exceeds one.
        max_bytes: bound on working memory without the results; None: a quarter of the free memory.
        progress: whether to show a progress bar; None: on a terminal, with a million pairs or more.

    Raises:
        ValueError: the inputs are not (N, d), not finite, of unequal d, or have a zero row; a setting is out
            of range; depth and tableau are both given; the activation is unknown, or it jumps.
        BlowUpError: φ grows faster than linearly, and K(t, t) diverges before T.

    Example:
        >>> import torch
        >>> x = torch.eye(2) * 2**0.5
        >>> kernels = infinite_width_kernels(x, activation="identity")  # Bessel functions of 2σ_wT
        >>> round(kernels.nngp[0, 0].item(), 6)  # I₀(2)
        2.279585
        >>> round(kernels.ntk[0, 0].item(), 6)  # 2 I₀(2) + I₁(2)
        6.149807
    """
    if depth is not None and tableau is not None:
        raise ValueError(
            "depth and tableau are two discretisations: give only one, or neither for the exact flow"
        )
    if isinstance(activation, str):
        activation = activations.get(activation)
    elif not isinstance(activation, Activation):
        activation = activations.from_callable(activation)
    gamma = nonnegative("model.sigma_w", sigma_w) * nonnegative("model.horizon", horizon)
    positive("tolerance", tolerance)
    geometry = InputGeometry(x1, x2, positive("model.sigma_u", sigma_u))
    output_scale = nonnegative("model.sigma_v", sigma_v) ** 2
    homogeneous = _is_homogeneous(activation)
    # Factor of the solved kernels: σ_v², and for homogeneous φ the norms of the inputs.
    scale = output_scale
    if homogeneous:
        scale *= float(torch.maximum(geometry.q1.max(), geometry.q2.max()))
    kernel = _pair_kernel(activation, gamma, depth, tableau, tolerance / max(1.0, scale))
    symmetries = Symmetries(homogeneous, odd=activation.profile.parity == "odd")
    assembly = Assembly(
        kernel, geometry, symmetries, tolerance / max(1.0, scale), _pairs_per_block(max_bytes)
    )
    console = Console(stderr=True)
    many = len(geometry.q1) * len(geometry.q2) >= _MANY_PAIRS
    visible = progress if progress is not None else many and console.is_terminal
    with Progress(console=console, transient=True, disable=not visible) as bar:
        nngp, ntk, error = assembly.run(bar)
    if not bool(ntk.isfinite().all()):
        raise BlowUpError(
            f"activation {activation.name!r}: this discretisation overflows at σ_w·T = {gamma:.3g}; "
            f"try model.horizon={0.5 * horizon:.2g}",
            gamma,
        )
    if error * scale > tolerance:
        warnings.warn(
            f"infinite-width kernels of {activation.name!r}: the estimated error {error * scale:.1e} exceeds "
            f"tolerance={tolerance:g}; use a shorter horizon or a larger tolerance",
            stacklevel=2,
        )
    return Kernels(output_scale * nngp, output_scale * ntk, error * scale)


def _pair_kernel(
    activation: Activation, gamma: float, depth: int | None, tableau: RungeKutta | None, tolerance: float
) -> PairKernel:
    if depth is not None:
        return EulerNetwork(dual_activation(activation, 0.1 * tolerance), gamma, count("model.depth", depth))
    if tableau is not None:
        return RungeKuttaSolve(dual_activation(activation, 0.1 * tolerance), gamma, tableau)
    return Continuum(activation, gamma, tolerance)


def _pairs_per_block(max_bytes: int | None) -> int:
    memory = psutil.virtual_memory().available // 4 if max_bytes is None else count("max_bytes", max_bytes)
    return min(_MAX_PAIRS_PER_BLOCK, max(1, memory // _BYTES_PER_PAIR))


def _is_homogeneous(activation: Activation) -> bool:
    """Whether φ(rx) = rφ(x) for r > 0, up to rounding: φ is linear on either side of 0."""
    x = torch.cat([grid(), 100 * grid()])
    right, left = activation(x.new_tensor([1.0, -1.0])).detach().tolist()
    rays = torch.where(x > 0, right * x, -left * x)
    return torch.allclose(activation(x).detach(), rays, rtol=1e-14, atol=1e-14)
