"""Per-sample derivatives by one backward pass a sample and output: slow, and right for any model."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ntkode.ntk.contraction import Factor, Gradients
from ntkode.ntk.layout import Layout

# Rows that the model sees at a time: a backward pass costs no more for a few, a forward pass much less.
BATCH = 16


class JacobianFactors:
    """∂f_i/∂θ of every trained parameter, whole.

    Args:
        model: maps (N, …) to (N, k).
        k: number of outputs.
        layout: how they end up in the kernel.
    """

    def __init__(self, model: nn.Module, k: int, layout: Layout) -> None:
        self._model, self._seeds, self._layout = model, layout.seeds(k), layout
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def bytes_a_row(self) -> int:
        """Memory that one sample's derivatives take."""
        numbers = sum(p.numel() for p in self._parameters.values())
        # Twice: sample by sample, and stacked.
        return 2 * len(self._seeds) * numbers * self._layout.dtype.itemsize

    def __call__(self, x: Tensor) -> dict[str, Factor]:
        """Derivatives of the outputs of all rows of x, by the parameter's name."""
        by_sample = [sample for rows in x.split(BATCH) for sample in self._of(rows)]
        return {
            name: self._layout.gradients(torch.stack([sample[j] for sample in by_sample], dim=1))
            for j, name in enumerate(self._parameters)
        }

    def _of(self, rows: Tensor) -> Iterator[list[Tensor]]:
        """For each row, one (K, size) tensor a parameter."""
        parameters = list(self._parameters.values())
        with torch.enable_grad():
            combined = self._model(rows) @ self._seeds.to(rows).T
        for of_row in combined:
            by_seed = [
                torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
                for value in of_row
            ]
            yield [
                torch.stack([g[j].flatten() for g in by_seed]).to(self._layout.dtype)
                for j in range(len(parameters))
            ]


def jacobian(model: nn.Module, x: Tensor) -> Tensor:
    """∂f/∂θ, shape (N, k, P), float64, trained parameters in the model's order."""
    with torch.no_grad():
        k = model(x[:1]).shape[1]
    factors = JacobianFactors(model, k, Layout("full", torch.float64))(x)
    whole = [f.values for f in factors.values() if isinstance(f, Gradients)]
    return torch.cat(whole, dim=2).transpose(0, 1)
