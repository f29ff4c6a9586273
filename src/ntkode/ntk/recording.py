"""Record what every linear call of a model sees: its input and its output's cotangents.

A weight's derivative is a sum over its calls c of outer products, ∂f/∂W = Σ_c g_c a_c^T (input a_c,
cotangent g_c = ∂f/∂(W a_c)), so a kernel needs the a_c and g_c alone, never a weight gradient.
One forward pass and one backward pass per output give them for a whole batch.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Ways in which a parameter may be looked at without being computed with.
_INSPECTIONS = {"__get__", "size", "dim", "numel", "requires_grad_", "is_floating_point", "__len__"}


class NotRecordableError(ValueError):
    """A parameter enters the model by another way than a recorded linear call."""


@dataclass
class LinearCalls:
    """All calls of one weight in one batched forward pass.

    Attributes:
        inputs: a_c, one (N, p) tensor a call.
        cotangents: g_c for each output: `cotangents[o][c]` has shape (N, q).
        with_bias: whether a bias is added in every call, which adds 1 to ⟨a_c, a_c'⟩.
    """

    inputs: list[Tensor] = field(default_factory=list)
    cotangents: list[list[Tensor]] = field(default_factory=list)
    with_bias: bool = False


@dataclass
class _Recorder(TorchFunctionMode):
    """Keeps inputs and outputs of linear calls; refuses any other use of a parameter."""

    names: Mapping[int, str]
    inputs: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    outputs: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    biases: dict[str, list[str | None]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [*args, *kwargs.values()]
        used = [self.names[id(a)] for a in tensors if id(a) in self.names]
        output = func(*args, **kwargs)
        if not used or getattr(func, "__name__", "") in _INSPECTIONS:
            return output
        # F.linear(a, W[, b]) and a @ v are the two ways in which parameters enter the models.
        is_linear = func is F.linear and id(tensors[0]) not in self.names
        is_product = func in (torch.matmul, Tensor.matmul, Tensor.__matmul__) and id(args[1]) in self.names
        if not (is_linear or is_product) or tensors[0].ndim != 2:
            raise NotRecordableError(
                f"parameter {used[0]!r} is used by {getattr(func, '__name__', func)} on input of shape "
                f"{tuple(getattr(tensors[0], 'shape', ()))}; recorded are linear calls on (N, p) inputs: "
                "take method='jacobian'"
            )
        return self._record(used, tensors[0], output)

    def _record(self, used: list[str], given: Tensor, output: Tensor) -> Tensor:
        # Frozen weights leave the first call outside autograd's graph: its output becomes a leaf.
        if not output.requires_grad:
            output.requires_grad_()
        self.inputs[used[0]].append(given.detach())
        self.outputs[used[0]].append(output)
        self.biases[used[0]].append(used[1] if len(used) > 1 else None)
        return output


def record_linear_calls(model: nn.Module, x: Tensor) -> dict[str, LinearCalls]:
    """Inputs and cotangents of every linear call of `model` on `x`.

    Args:
        model: maps (N, d) to (N, k), each row by itself; its parameters enter through `F.linear`
            (every `nn.Linear` does) or as the right factor of `@`. It is not changed.
        x: inputs of shape (N, d) in the parameters' dtype.

    Returns:
        Calls by the weight's name.

    Raises:
        NotRecordableError: a parameter enters in another way; it is named.
    """
    frozen = copy.deepcopy(model).requires_grad_(False)
    recorder = _Recorder({id(p): name for name, p in frozen.named_parameters()})
    with torch.enable_grad(), recorder:
        f = frozen(x.detach())
    weights = list(recorder.outputs)
    flat = [output for name in weights for output in recorder.outputs[name]]
    calls = {name: _calls(name, recorder) for name in weights}
    for column in range(f.shape[1]):
        gradients = torch.autograd.grad(f[:, column].sum(), flat, retain_graph=True, materialize_grads=True)
        remaining = iter(gradients)
        for name in weights:
            calls[name].cotangents.append([next(remaining) for _ in calls[name].inputs])
    return calls


def _calls(name: str, recorder: _Recorder) -> LinearCalls:
    biases = set(recorder.biases[name])
    if len(biases) > 1:
        raise NotRecordableError(f"weight {name!r} is used with different biases: take method='jacobian'")
    return LinearCalls(inputs=recorder.inputs[name], with_bias=biases != {None})
