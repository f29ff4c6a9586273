"""Arrangement of the outputs of a model in a kernel: mean, pairs, or sum of outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ntkode.ntk.empirical.contraction import Gradients, OuterProducts
from ntkode.ntk.empirical.recording import Calls

Outputs = Literal["trace", "full", "sum"]
OUTPUTS: tuple[Outputs, ...] = ("trace", "full", "sum")


@dataclass(frozen=True)
class Layout:
    """Arrangement of derivatives for which one contraction serves every value of `outputs`.

    A mean over outputs becomes a sum over one more feature of the cotangents; separate outputs become rows.

    Attributes:
        outputs: `trace` = (1/k) Σ_c Θ_cc; `full` = every Θ_ce; `sum` = Σ_{c,e} Θ_ce, the kernel of Σ_c f_c.
        dtype: dtype of the kernel.
    """

    outputs: Outputs
    dtype: torch.dtype

    def seeds(self, k: int) -> Tensor:
        """Combinations of the k outputs to differentiate, shape (K, k)."""
        return torch.ones(1, k) if self.outputs == "sum" else torch.eye(k)

    def separate(self, k: int) -> int:
        """M: number of rows per sample in the kernel."""
        return k if self.outputs == "full" else 1

    def outer_products(self, calls: Sequence[Calls]) -> OuterProducts:
        """The terms of one weight from all its calls, of any shapes."""
        parts = [self._terms(some) for some in calls]
        inputs = torch.cat([a for a, _ in parts], dim=1)
        return OuterProducts(inputs, torch.cat([g for _, g in parts], dim=1))

    def _terms(self, calls: Calls) -> tuple[Tensor, Tensor]:
        """Inputs (groups, C·positions, N, p) and cotangents (groups, C·positions, M, N, q)."""
        c, k, n = calls.cotangents.shape[:3]
        a = calls.layer.patches(calls.inputs.to(self.dtype).flatten(0, 1)).unflatten(2, (c, n))
        g = calls.layer.channels(calls.cotangents.to(self.dtype).flatten(0, 2)).unflatten(2, (c, k, n))
        if self.outputs == "trace":
            g = g.movedim(3, 4).flatten(4).unsqueeze(3)  # (groups, positions, C, 1, N, k·q)
        # Contiguous, because the contraction multiplies slices.
        return a.movedim(2, 1).flatten(1, 2).contiguous(), g.movedim(2, 1).flatten(1, 2).contiguous()

    def gradients(self, values: Tensor) -> Gradients:
        """Dense derivatives, from values of shape (K, N, size)."""
        values = values.to(self.dtype)
        if self.outputs == "trace":
            values = values.transpose(0, 1).flatten(1).unsqueeze(0)
        return Gradients(values)

    def arranged(self, kernel: Tensor, k: int) -> Tensor:
        """The kernel in the shape of `empirical_ntk`: (N1, N2), or (N1·k, N2·k), output index fastest."""
        if self.outputs == "full":
            return kernel.permute(1, 0, 3, 2).flatten(2).flatten(0, 1)
        return kernel[0, :, 0] / k if self.outputs == "trace" else kernel[0, :, 0]
