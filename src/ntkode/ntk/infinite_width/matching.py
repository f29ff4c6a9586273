"""Matched initialisation: scales at which the infinite-width limits of all activations agree.

With σ_w = σ_v = 1, as in the paper, activations differ in output variance and NTK, and so in the size of
outputs, steps and kernels. Two targets fix both scales: σ_w fixes the quantity that does not depend on σ_v
(the ratio of NTK to output variance, or the hidden variance), σ_v then fixes the output variance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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

# Values of σ_w·T that bracket a target; at 4 the hidden variance of a relu network has grown fifty-fold.
GAMMAS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
TOLERANCE = 1e-6
# Largest number of input norms at which limits are computed.
NODES = 12


class UnreachableTarget(ValueError):
    """No σ_w gives the target; the message names the range that can be reached.

    Attributes:
        remedy: the override to try.
    """

    remedy = "a target in that range, or match=none to keep the model's scales"


@dataclass(frozen=True)
class MeanLimits:
    """Means over the inputs of the limits at x = x' with σ_v = 1.

    Attributes:
        nngp: mean output variance.
        ntk: mean diagonal of the NTK.
        hidden: mean hidden variance K(T, T).
    """

    nngp: float
    ntk: float
    hidden: float


@dataclass(frozen=True)
class Network:
    """The network without its scales σ_w and σ_v: everything else that the limits depend on.

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
                f"has K0 = {float(self.inputs[row]):g}; use match=none"
            )

    @cached_property
    def _norms(self) -> tuple[Tensor, Tensor]:
        """At most `NODES` values of K0, and weights whose sums over them are means over the inputs.

        Norms that differ by float32 rounding count as equal. More than `NODES` distinct ones are replaced by
        Chebyshev interpolation in log K0, in which the limits are smooth.
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
        """Mean limits at σ_w·T = γ.

        Raises:
            BlowUpError: the limits diverge before the horizon.
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
    """Matched scales, and the limits at these scales.

    Attributes:
        sigma_w: σ_w.
        sigma_v: σ_v.
        output_variance: mean NNGP(x, x).
        ntk_diagonal: mean NTK(x, x).
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
        """σ_w and σ_v that give the targets.

        Raises:
            UnreachableTarget: no scales give the targets.
        """
        ...


@dataclass(frozen=True)
class VarianceMatch(ABC):
    """Equal output variance, and an equal second quantity that does not depend on σ_v.

    Args:
        output_variance: mean over the inputs of NNGP(x, x).

    Raises:
        ValueError: a target is not positive.
    """

    output_variance: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            positive(f"match.{name}", value)

    @abstractmethod
    def quantity(self, limits: MeanLimits) -> float:
        """The quantity that σ_w alone determines, from the limits at σ_v = 1."""

    @abstractmethod
    def target(self) -> tuple[float, str]:
        """Target of `quantity`, and the overrides that set it."""

    def scales(self, network: Network) -> Scales:
        """σ_w from the target of `quantity`, then σ_v from the output variance.

        Raises:
            UnreachableTarget: no σ_w·T in the range of `GAMMAS` gives the target.
        """
        gamma = _root(network, self.quantity, *self.target())
        limits = network.limits(gamma)
        squared = self.output_variance / limits.nngp
        return Scales(
            gamma / network.horizon, squared**0.5, self.output_variance, squared * limits.ntk, limits.hidden
        )


@dataclass(frozen=True)
class MatchNTK(VarianceMatch):
    """Equal output variance and equal NTK diagonal: σ_w from the ratio NTK/NNGP.

    Args:
        output_variance: mean over the inputs of NNGP(x, x).
        ntk_diagonal: mean over the inputs of NTK(x, x).

    Raises:
        ValueError: a target is not positive.
    """

    ntk_diagonal: float = 2.5

    def quantity(self, limits: MeanLimits) -> float:
        """NTK diagonal at the target output variance."""
        return self.output_variance * limits.ntk / limits.nngp

    def target(self) -> tuple[float, str]:
        """Target `ntk_diagonal`, and the overrides that determine whether it can be reached."""
        label = f"match.ntk_diagonal={self.ntk_diagonal:g}"
        return self.ntk_diagonal, f"{label} with match.output_variance={self.output_variance:g}"


@dataclass(frozen=True)
class MatchHidden(VarianceMatch):
    """Equal output variance and equal hidden variance at T: σ_w from K(T, T).

    Args:
        output_variance: mean over the inputs of NNGP(x, x).
        hidden_variance: mean over the inputs of K(T, T).

    Raises:
        ValueError: a target is not positive.
    """

    hidden_variance: float = 1.5

    def quantity(self, limits: MeanLimits) -> float:
        """Mean hidden variance K(T, T) over the inputs."""
        return limits.hidden

    def target(self) -> tuple[float, str]:
        """Target `hidden_variance`, and its override."""
        return self.hidden_variance, f"match.hidden_variance={self.hidden_variance:g}"


@dataclass(frozen=True)
class MatchHorizon:
    """σ_w inversely proportional to the horizon: σ_w·T = γ for every horizon.

    The flow with σ_w/c on [0, cT] is the flow with σ_w on [0, T] in another unit of time, so every horizon
    gives the same network.

    Args:
        gamma: σ_w·T.
        sigma_v: σ_v.

    Raises:
        ValueError: gamma or sigma_v is not positive.
    """

    gamma: float = 1.0
    sigma_v: float = 1.0

    def __post_init__(self) -> None:
        positive("match.gamma", self.gamma)
        positive("match.sigma_v", self.sigma_v)

    def scales(self, network: Network) -> Scales:
        """σ_w = γ/T and the given σ_v.

        Raises:
            BlowUpError: the limits diverge at this γ.
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


def _root(network: Network, value: Callable[[MeanLimits], float], target: float, label: str) -> float:
    """Smallest γ at which `value` of the limits is the target."""
    tried: list[tuple[float, float]] = []
    for gamma in GAMMAS:
        try:
            tried.append((gamma, value(network.limits(gamma))))
        except BlowUpError:
            break
        (before, low), (_, high) = tried[-2:] if len(tried) > 1 else (tried[0], tried[0])
        if min(low, high) <= target <= max(low, high) and len(tried) > 1:
            root = brentq(lambda g: value(network.limits(g)) - target, before, gamma, xtol=1e-8, rtol=1e-8)
            return float(root)
    values = [v for _, v in tried]
    raise UnreachableTarget(
        f"{label} cannot be reached by activation {network.activation.name!r}: with σ_w·T from 0 to "
        f"{tried[-1][0]:g} it lies between {min(values):.3g} and {max(values):.3g}"
    )
