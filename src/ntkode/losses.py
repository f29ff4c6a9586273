"""Losses, as sums over samples, so that the largest stable learning rate is 2/λ_max, as in the theory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


class Loss(Protocol):
    """A loss L(f, y) = Σ_i ℓ(f_i, y_i) with its residual −∂L/∂f."""

    @property
    def name(self) -> str:
        """The loss's name in conf/loss."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """The kinds of data set that the loss suits, among "classification" and "regression"."""
        ...

    def __call__(self, f: Tensor, y: Tensor) -> Tensor:
        """L, a scalar, from outputs f and targets y of shape (N, k)."""
        ...

    def residual(self, f: Tensor, y: Tensor) -> Tensor:
        """−∂L/∂f, the negative gradient with respect to the outputs, shape (N, k)."""
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
        """The residual y − f, shape (N, k).

        Raises:
            ValueError: f and y have different shapes.
        """
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
        """The residual one-hot(class) − softmax(f), shape (N, k)."""
        return F.one_hot(y.argmax(dim=1), f.shape[1]).to(f) - f.softmax(dim=1)


def check_loss(loss: Loss, task: str, out_features: int) -> None:
    """Check that the loss suits the data.

    Raises:
        ValueError: cross-entropy on a regression set or on a single output.
    """
    if task not in loss.tasks:
        raise ValueError(f"loss={loss.name} does not suit a {task} data set: take loss=squared")
    if loss.name == "cross_entropy" and out_features < 2:
        raise ValueError(f"loss=cross_entropy needs ≥ 2 outputs, not {out_features}: take loss=squared")
