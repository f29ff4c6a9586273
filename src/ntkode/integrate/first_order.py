"""For gradient methods of which autograd knows the first derivative only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def first_order_only(final: Tensor, name: str) -> Tensor:
    """`final`, whose backward pass refuses `create_graph=True`: a second derivative would silently be wrong.

    Args:
        final: h(T).
        name: of the method in conf/gradient.
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
                f"gradient={ctx.name} has no second derivatives (create_graph=True): take gradient=backprop "
                "or gradient=checkpointed"
            )
        return cotangents[0], None
