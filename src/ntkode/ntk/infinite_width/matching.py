"""Matched initialisation: scales at which the infinite-width limits of all activations agree.

With the paper's σ_w = σ_v = 1 each φ starts from another output variance and another NTK, so that they
are compared at different sizes of output, step and kernel. Two targets fix both scales: σ_w sets what does
not depend on σ_v (the ratio of NTK to output variance, or the hidden variance), σ_v then sets the size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from ntkode.activations import Activation
from ntkode.checks import positive
from ntkode.ntk.infinite_width.continuum import BlowUpError, Continuum
from ntkode.ntk.infinite_width.discrete_time import EulerNetwork
from ntkode.ntk.infinite_width.duals.dispatch import dual_activation

# σ_w·T among which a target is looked for: at 4 a relu network's hidden variance has grown fifty-fold.
GAMMAS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
TOLERANCE = 1e-6
# Norms of inputs that the limits are computed for.
NODES = 12


class UnreachableTarget(ValueError):
    """No σ_w gives the target; the message names what can be reached.

    Attributes:
        remedy: the override to try.
    """

    remedy = "a target in that range, or match=none for the model's own scales"


@dataclass(frozen=True)
class MeanLimits:
    """Means over the inputs of the limits for x = x' with σ_v = 1.

    Attributes:
        nngp: of the output variance.
        ntk: of the NTK's diagonal.
        hidden: of the hidden variance K(T, T).
    """

    nngp: float
    ntk: float
    hidden: float


@dataclass(frozen=True)
class Network:
    """What the limits depend on besides the scales.

    Attributes:
        activation: φ.
        inputs: K0(x, x) = σ_u²|x|²/d of the inputs, shape (N,).
        horizon: T.
        depth: L of a ResNet; None for the exact flow.
    """

    activation: Activation
    inputs: Tensor
    horizon: float
    depth: int | None = None

    def __post_init__(self) -> None:
        positive("model.horizon", self.horizon)
        bad = ~(self.inputs.isfinite() & (self.inputs > 0))
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            raise ValueError(
                f"matched scales need inputs that are finite and not zero, and model.sigma_u > 0: row {row} "
                f"has K0 = {float(self.inputs[row]):g}; take match=none"
            )

    @cached_property
    def _norms(self) -> tuple[Tensor, Tensor]:
        """Few values of K0, and weights by which sums over them are means over the inputs.

        Norms that differ by float32's rounding are one; more than `NODES` are replaced by the quadrature that
        interpolates in log K0, in which the limits are smooth.
        """
        logs = (self.inputs.double().log() * 1e6).round() / 1e6
        distinct, counts = torch.unique(logs, return_counts=True)
        if len(distinct) <= NODES:
            return distinct.exp(), counts.double() / len(logs)
        low, high = float(distinct[0]), float(distinct[-1])
        nodes = np.polynomial.chebyshev.chebpts1(NODES)
        values = np.polynomial.chebyshev.chebvander(nodes, NODES - 1)
        scaled = 2 * (logs.numpy() - low) / (high - low) - 1
        means = np.polynomial.chebyshev.chebvander(scaled, NODES - 1).mean(0)
        weights = np.linalg.solve(values.T, means)
        at = np.exp(low + (high - low) * (nodes + 1) / 2)
        return torch.from_numpy(at), torch.from_numpy(weights)

    def limits(self, gamma: float) -> MeanLimits:
        """MeanLimits at σ_w·T = γ.

        Raises:
            BlowUpError: there are none.
        """
        q, share = self._norms
        if self.depth is None:
            solved, curves = Continuum(self.activation, gamma, TOLERANCE).solve_diagonal(q)
        else:
            dual = dual_activation(self.activation, 0.01 * TOLERANCE)
            solved, curves = EulerNetwork(dual, gamma, self.depth).solve_diagonal(q)
        nngp, ntk, hidden = (float(v @ share) for v in (solved.nngp, solved.ntk, curves[:, -1]))
        return MeanLimits(nngp, ntk, hidden)


@dataclass(frozen=True)
class Scales:
    """Matched scales, and the limits that they give.

    Attributes:
        sigma_w: σ_w.
        sigma_v: σ_v.
        output_variance: mean NNGP variance.
        ntk_diagonal: mean of the NTK's diagonal.
        hidden_variance: mean K(T, T).
    """

    sigma_w: float
    sigma_v: float
    output_variance: float
    ntk_diagonal: float
    hidden_variance: float


class Match(Protocol):
    """A pair of targets for the infinite-width limit at initialisation."""

    def scales(self, network: Network) -> Scales:
        """σ_w and σ_v that reach the targets.

        Raises:
            UnreachableTarget: none do.
        """
        ...


@dataclass(frozen=True)
class MatchNTK:
    """Equal output variance and equal NTK diagonal.

    Args:
        output_variance: mean over the inputs of NNGP(x, x).
        ntk_diagonal: mean over the inputs of NTK(x, x).

    Raises:
        ValueError: a target that is not positive.
    """

    output_variance: float = 1.0
    ntk_diagonal: float = 2.5

    def __post_init__(self) -> None:
        positive("match.output_variance", self.output_variance)
        positive("match.ntk_diagonal", self.ntk_diagonal)

    def scales(self, network: Network) -> Scales:
        """σ_w from NTK/NNGP, which does not depend on σ_v.

        Raises:
            UnreachableTarget: no σ_w·T of `GAMMAS`' range gives this ratio.
        """
        gamma = _root(
            network,
            lambda limits: self.output_variance * limits.ntk / limits.nngp,
            self.ntk_diagonal,
            f"match.ntk_diagonal={self.ntk_diagonal:g} with match.output_variance={self.output_variance:g}",
        )
        return _scales(network, gamma, self.output_variance)


@dataclass(frozen=True)
class MatchHidden:
    """Equal output variance and equal hidden variance at T.

    Args:
        output_variance: mean over the inputs of NNGP(x, x).
        hidden_variance: mean over the inputs of K(T, T).

    Raises:
        ValueError: a target that is not positive.
    """

    output_variance: float = 1.0
    hidden_variance: float = 1.5

    def __post_init__(self) -> None:
        positive("match.output_variance", self.output_variance)
        positive("match.hidden_variance", self.hidden_variance)

    def scales(self, network: Network) -> Scales:
        """σ_w from K(T, T).

        Raises:
            UnreachableTarget: no σ_w·T of `GAMMAS`' range gives it.
        """
        target = f"match.hidden_variance={self.hidden_variance:g}"
        gamma = _root(network, lambda limits: limits.hidden, self.hidden_variance, target)
        return _scales(network, gamma, self.output_variance)


@dataclass(frozen=True)
class MatchHorizon:
    """σ_w in inverse proportion to the horizon: σ_w·T stays the same however long the network is.

    The flow of σ_w/c on [0, cT] is that of σ_w on [0, T] in another unit of time, so that every horizon gives
    one and the same network.

    Args:
        gamma: σ_w·T.
        sigma_v: σ_v.

    Raises:
        ValueError: one of them is not positive.
    """

    gamma: float = 1.0
    sigma_v: float = 1.0

    def __post_init__(self) -> None:
        positive("match.gamma", self.gamma)
        positive("match.sigma_v", self.sigma_v)

    def scales(self, network: Network) -> Scales:
        """σ_w = γ/T, and σ_v as given.

        Raises:
            BlowUpError: there is no limit at this γ.
        """
        limits = network.limits(self.gamma)
        squared = self.sigma_v**2
        return Scales(
            self.gamma / network.horizon,
            self.sigma_v,
            squared * limits.nngp,
            squared * limits.ntk,
            limits.hidden,
        )


def _scales(network: Network, gamma: float, output_variance: float) -> Scales:
    limits = network.limits(gamma)
    squared = output_variance / limits.nngp
    return Scales(gamma / network.horizon, squared**0.5, output_variance, squared * limits.ntk, limits.hidden)


def _root(network: Network, value: Callable[[MeanLimits], float], target: float, label: str) -> float:
    """The smallest γ at which `value` of the limits is the target."""
    seen: list[tuple[float, float]] = []
    for gamma in GAMMAS:
        try:
            seen.append((gamma, value(network.limits(gamma))))
        except BlowUpError:
            break
        (before, low), (_, high) = seen[-2:] if len(seen) > 1 else (seen[0], seen[0])
        if min(low, high) <= target <= max(low, high) and len(seen) > 1:
            root = brentq(lambda g: value(network.limits(g)) - target, before, gamma, xtol=1e-8, rtol=1e-8)
            return float(root)
    values = [v for _, v in seen]
    raise UnreachableTarget(
        f"{label} cannot be reached by activation {network.activation.name!r}: with σ_w·T from 0 to "
        f"{seen[-1][0]:g} it lies between {min(values):.3g} and {max(values):.3g}"
    )
