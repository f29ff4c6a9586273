"""Per-sample derivatives by one backward pass per sample and output: slow, for any model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ntkode.ntk.empirical.contraction import Factor
from ntkode.ntk.empirical.layout import Layout


class JacobianFactors:
    """Dense ∂f_i/∂θ of every trained parameter; the model is called with one row at a time.

    Args:
        model: maps (1, …) to (1, k).
        k: number of outputs.
        layout: arrangement of the outputs in the kernel.
    """

    def __init__(self, model: nn.Module, k: int, layout: Layout) -> None:
        self._model, self._seeds, self._layout = model, layout.seeds(k), layout
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def bytes_per_row(self) -> int:
        """Memory in bytes of the derivatives of one sample."""
        numbers = sum(p.numel() for p in self._parameters.values())
        # Twice: per sample, and stacked.
        return 2 * len(self._seeds) * numbers * self._layout.dtype.itemsize

    def __call__(self, x: Tensor) -> dict[str, Factor]:
        """Derivatives of the outputs by each parameter, for all rows of x, by parameter name."""
        by_sample = [self._of(row) for row in x.split(1)]
        return {
            name: self._layout.gradients(torch.stack([sample[j] for sample in by_sample], dim=1))
            for j, name in enumerate(self._parameters)
        }

    def _of(self, row: Tensor) -> list[Tensor]:
        """Derivatives of one row: a tensor (K, size) per parameter."""
        parameters = list(self._parameters.values())
        with torch.enable_grad():
            f = self._model(row.clone())  # a copy, which the model may change
        by_seed = [
            torch.autograd.grad(f, parameters, seed[None], retain_graph=True, materialize_grads=True)
            for seed in self._seeds.to(f)
        ]
        dtype = self._layout.dtype
        return [torch.stack([g[j].flatten() for g in by_seed]).to(dtype) for j in range(len(parameters))]
