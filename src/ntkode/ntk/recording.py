"""Record what every linear call of a model sees: its input and its output's cotangents.

A weight's derivative is a sum over its calls c of outer products, ∂f/∂W = Σ_c g_c a_c^T (input a_c,
cotangent g_c = ∂f/∂(W a_c)), so a kernel needs the a_c and g_c alone, never a weight gradient.
One forward pass and one backward pass per output give them for a whole batch.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


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
    versions: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    biases: dict[str, set[str | None]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        used = [self.names[id(leaf)] for leaf in _leaves((args, kwargs)) if id(leaf) in self.names]
        # Looking at a parameter's shape or dtype gives no tensor, and is no use of it.
        if not used or not any(isinstance(leaf, Tensor) for leaf in _leaves(output)):
            return output
        call = _linear_call(func, args, kwargs)
        if call is None or call[0].ndim != 2 or id(call[0]) in self.names or id(call[1]) not in self.names:
            raise NotRecordableError(
                f"parameter {used[0]!r} is used by {getattr(func, '__name__', func)}; recorded are "
                "F.linear(a, W, b) and a @ W with a of shape (N, p): take method='jacobian'"
            )
        given, weight, bias = call
        self._record(self.names[id(weight)], given, output, self.names.get(id(bias)))
        return output

    def _record(self, weight: str, given: Tensor, output: Tensor, bias: str | None) -> None:
        self.inputs[weight].append(given.detach())
        self.outputs[weight].append(output)
        self.versions[weight].append(output._version)
        self.biases[weight].add(bias)

    def check(self) -> None:
        """Refuse what the sum over calls of one weight would get wrong."""
        for weight, outputs in self.outputs.items():
            if [output._version for output in outputs] != self.versions[weight]:
                raise NotRecordableError(
                    f"an output of weight {weight!r} is changed in place: take method='jacobian'"
                )
        pairs = [(weight, bias) for weight, biases in self.biases.items() for bias in biases]
        shared = [bias for _, bias in pairs if bias is not None]
        if len(pairs) > len(self.biases) or len(shared) > len(set(shared)) or set(shared) & set(self.biases):
            raise NotRecordableError(
                "a weight and its bias do not always go together: take method='jacobian'"
            )


def _linear_call(
    func: Callable, args: tuple, kwargs: Mapping[str, Any]
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """(input, weight, bias) of a call by which parameters may enter a model, else None."""
    if func is F.linear:
        return _linear_arguments(*args, **kwargs)
    if func in (torch.matmul, Tensor.matmul, Tensor.__matmul__) and len(args) == 2:
        return (args[0], args[1], None)
    return None


def _linear_arguments(
    input: Tensor,  # noqa: A002 — torch's name
    weight: Tensor,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    return input, weight, bias


def _leaves(value: Any) -> Iterator[Any]:
    """The values within nested tuples, lists and dicts."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


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
        # An input that requires a gradient puts every call into autograd's graph, though no weight does.
        f = frozen(x.detach().requires_grad_())
    recorder.check()
    weights = list(recorder.outputs)
    flat = [output for name in weights for output in recorder.outputs[name]]
    calls = {
        name: LinearCalls(inputs=recorder.inputs[name], with_bias=recorder.biases[name] != {None})
        for name in weights
    }
    for column in range(f.shape[1]):
        gradients = torch.autograd.grad(f[:, column].sum(), flat, retain_graph=True, materialize_grads=True)
        remaining = iter(gradients)
        for name in weights:
            calls[name].cotangents.append([next(remaining) for _ in calls[name].inputs])
    return calls
