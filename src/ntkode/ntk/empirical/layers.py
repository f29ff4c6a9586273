"""How a call of a linear layer makes its weight's derivative: a sum of outer products over positions.

For one sample, ∂f/∂W = Σ_l g_l a_l^T over the layer's positions l: one for a plain Linear layer, every place
of a sequence, or of the image that a convolution slides over.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


class Layer(Protocol):
    """Splits a call's input and output into what the weight multiplies, by group and position."""

    def patches(self, inputs: Tensor) -> Tensor:
        """a, shape (groups, positions, M, p), from inputs of shape (M, …)."""
        ...

    def channels(self, outputs: Tensor) -> Tensor:
        """g, shape (groups, positions, M, q), from output cotangents of shape (M, …)."""
        ...

    @property
    def arrangement(self) -> Hashable:
        """Where g a^T lies in the weight: only calls that agree in it have one sum of outer products."""
        ...

    def weight(self, products: Tensor) -> Tensor:
        """Σ g a^T of shape (groups, q, p), flattened as the weight's entries lie."""
        ...


@dataclass(frozen=True)
class Linear:
    """x W^T on the last dimension of (M, …, p), or x W.

    Attributes:
        transposed: whether it is x W, with W of shape (p, q).
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
        """As W^T or as W."""
        return self.transposed

    def weight(self, products: Tensor) -> Tensor:
        """Shape (p·q), from (1, q, p)."""
        return (products[0].mT if self.transposed else products[0]).flatten()


@dataclass(frozen=True)
class Convolution:
    """A 1-d or 2-d convolution with zero padding.

    Attributes:
        kernel: (height, width) of the kernel; height 1 in one dimension. So are the others.
        stride: (vertical, horizontal).
        padding: (top, bottom, left, right).
        dilation: (vertical, horizontal).
        groups: into which the channels fall.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int

    def patches(self, inputs: Tensor) -> Tensor:
        """a, shape (groups, positions, M, p): the entries under the kernel at every place."""
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
        """By the groups: two convolutions may cut one weight into different ones."""
        return self.groups

    def weight(self, products: Tensor) -> Tensor:
        """Shape (groups·q·p), from (groups, q, p)."""
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
        stride: as torch takes it, and so are the others.
        padding: a number, a pair, or "valid" or "same".
        dilation: spacing of the kernel.
        groups: into which the channels fall.
    """
    plane = weight.ndim == 4
    kernel = (weight.shape[2] if plane else 1, weight.shape[-1])
    step, spacing = _pair(stride, plane, 1), _pair(dilation, plane, 1)
    if padding == "same":
        total = [s * (k - 1) for s, k in zip(spacing, kernel, strict=True)]
        # torch puts the odd one at the far end.
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
