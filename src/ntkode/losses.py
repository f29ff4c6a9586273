"""Losses: sums over samples, as in the theory, so that the stable η is set by λ_max."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


class Loss(Protocol):
    """L(f, y) = Σ_i ℓ(f_i, y_i) and the residual −∂L/∂f."""

    @property
    def name(self) -> str:
        """The loss's name in conf/loss."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """Kinds of data set it suits: "classification", "regression"."""
        ...

    def __call__(self, f: Tensor, y: Tensor) -> Tensor:
        """L, a scalar, from outputs f and targets y of shape (N, k)."""
        ...

    def residual(self, f: Tensor, y: Tensor) -> Tensor:
        """−∂L/∂f, the negative gradient by the outputs, shape (N, k)."""
        ...


@dataclass(frozen=True)
class SquaredError:
    """L = ½ Σ_i ‖f_i − y_i‖², the loss of the theory."""

    name: str = "squared"
    tasks: tuple[str, ...] = ("classification", "regression")

    def __call__(self, f: Tensor, y: Tensor) -> Tensor:
        """L, a scalar, from outputs f and targets y of shape (N, k)."""
        return 0.5 * self.residual(f, y).square().sum()

    def residual(self, f: Tensor, y: Tensor) -> Tensor:
        """y − f, shape (N, k); shapes that differ raise a ValueError instead of broadcasting."""
        if f.shape != y.shape:
            raise ValueError(
                f"outputs have shape {tuple(f.shape)}, targets {tuple(y.shape)}: both must be (N, k)"
            )
        return y - f


@dataclass(frozen=True)
class CrossEntropy:
    """L = −Σ_i log softmax(f_i)[class of i]; the class is the largest entry of the target y_i."""

    name: str = "cross_entropy"
    tasks: tuple[str, ...] = ("classification",)

    def __call__(self, f: Tensor, y: Tensor) -> Tensor:
        """L, a scalar, from logits f and (shifted) one-hot targets y of shape (N, k)."""
        return F.cross_entropy(f, y.argmax(dim=1), reduction="sum")

    def residual(self, f: Tensor, y: Tensor) -> Tensor:
        """one-hot − softmax(f), shape (N, k)."""
        return F.one_hot(y.argmax(dim=1), f.shape[1]).to(f) - f.softmax(dim=1)


def check_loss(loss: Loss, task: str, out_features: int) -> None:
    """Refuse a loss that does not suit the data.

    Raises:
        ValueError: cross-entropy on a regression set or on a single output.
    """
    if task not in loss.tasks:
        raise ValueError(f"loss={loss.name} does not suit a {task} dataset: take loss=squared")
    if loss.name == "cross_entropy" and out_features < 2:
        raise ValueError(f"loss=cross_entropy needs ≥ 2 outputs, not {out_features}: take loss=squared")
