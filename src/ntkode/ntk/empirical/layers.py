"""Derivative of a weight from a call of its linear layer: a sum of outer products over positions.

For one sample, ∂f/∂W = Σ_l g_l a_l^T over the positions l of the layer: one for a plain Linear layer, one per
element of a sequence, or one per position of a convolution.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


class Layer(Protocol):
    """Decomposition of a call's input and output into vectors by group and position."""

    def patches(self, inputs: Tensor) -> Tensor:
        """a, shape (groups, positions, M, p), from inputs of shape (M, …)."""
        ...

    def channels(self, outputs: Tensor) -> Tensor:
        """g, shape (groups, positions, M, q), from output cotangents of shape (M, …)."""
        ...

    @property
    def arrangement(self) -> Hashable:
        """Key of the arrangement of g a^T in the weight; calls with equal keys share one sum."""
        ...

    def weight(self, products: Tensor) -> Tensor:
        """Σ g a^T of shape (groups, q, p), flattened in the order of the weight's entries."""
        ...


@dataclass(frozen=True)
class Linear:
    """Linear layer: x W^T, or x W, on the last dimension of x (M, …, p).

    Attributes:
        transposed: whether the product is x W, with W of shape (p, q).
    """

    transposed: bool = False

    def patches(self, inputs: Tensor) -> Tensor:
        """a, shape (1, positions, M, p)."""
        return inputs.reshape(1, len(inputs), -1, inputs.shape[-1]).transpose(1, 2)

    def channels(self, outputs: Tensor) -> Tensor:
        """g, shape (1, positions, M, q)."""
        return self.patches(outputs)

    @property
    def arrangement(self) -> Hashable:
        """The key: product with W^T or with W."""
        return self.transposed

    def weight(self, products: Tensor) -> Tensor:
        """Flattened weight derivative (p·q,), from (1, q, p)."""
        return (products[0].mT if self.transposed else products[0]).flatten()


@dataclass(frozen=True)
class Convolution:
    """A 1-d or 2-d convolution with zero padding.

    Attributes:
        kernel: (height, width) of the kernel; the height is 1 in one dimension.
        stride: (vertical, horizontal).
        padding: (top, bottom, left, right).
        dilation: (vertical, horizontal).
        groups: number of groups of channels.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int

    def patches(self, inputs: Tensor) -> Tensor:
        """a, shape (groups, positions, M, p): the entries under the kernel at every position."""
        top, bottom, left, right = self.padding
        image = F.pad(inputs if inputs.ndim == 4 else inputs.unsqueeze(2), (left, right, top, bottom))
        columns = F.unfold(image, self.kernel, dilation=self.dilation, stride=self.stride)
        return columns.reshape(len(inputs), self.groups, -1, columns.shape[-1]).permute(1, 3, 0, 2)

    def channels(self, outputs: Tensor) -> Tensor:
        """g, shape (groups, positions, M, q)."""
        return outputs.reshape(len(outputs), self.groups, outputs.shape[1] // self.groups, -1).permute(
            1, 3, 0, 2
        )

    @property
    def arrangement(self) -> Hashable:
        """The key: the number of groups, which two convolutions of one weight may differ in."""
        return self.groups

    def weight(self, products: Tensor) -> Tensor:
        """Flattened weight derivative (groups·q·p,), from (groups, q, p)."""
        return products.flatten()


def convolution(
    weight: Tensor,
    stride: int | tuple[int, ...] = 1,
    padding: int | str | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Convolution:
    """The convolution that `F.conv1d` or `F.conv2d` computes with these arguments.

    Args:
        weight: shape (channels out, channels in / groups, width) or (…, height, width).
        stride: torch's argument.
        padding: a number, a pair, or "valid" or "same".
        dilation: spacing of the kernel.
        groups: number of groups of channels.
    """
    plane = weight.ndim == 4
    kernel = (weight.shape[2] if plane else 1, weight.shape[-1])
    step, spacing = _pair(stride, plane, 1), _pair(dilation, plane, 1)
    if padding == "same":
        total = [s * (k - 1) for s, k in zip(spacing, kernel, strict=True)]
        # torch adds the odd one at the end.
        ends = (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)
    else:
        vertical, horizontal = _pair(0 if isinstance(padding, str) else padding, plane, 0)
        ends = (vertical, vertical, horizontal, horizontal)
    return Convolution(kernel, step, ends, spacing, groups)


def _pair(value: int | tuple[int, ...], plane: bool, missing: int) -> tuple[int, int]:
    """(vertical, horizontal); in one dimension the vertical value is `missing`."""
    values = (value,) if isinstance(value, int) else tuple(value)
    if not plane:
        return missing, values[0]
    return values[0], values[-1]
