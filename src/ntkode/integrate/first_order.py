"""Refusal of second derivatives for gradient methods that have first derivatives only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def first_order_only(final: Tensor, name: str) -> Tensor:
    """Identity of `final` whose backward pass refuses `create_graph=True`: second derivatives would be wrong.

    Args:
        final: h(T), shape (N, m).
        name: name of the method in conf/gradient.
    """
    same: Tensor = _Once.apply(final, name)
    return same


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, final: Tensor, name: str) -> Tensor:
        ctx.name = name
        return final.view_as(final)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"gradient={ctx.name} has no second derivatives (create_graph=True): use gradient=backprop "
                "or gradient=checkpointed"
            )
        return cotangents[0], None
