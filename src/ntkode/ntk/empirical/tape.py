"""Tape of a forward pass: stores the calls in which parameters enter, and refuses other uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from ntkode.ntk.empirical.layers import Layer, Linear, convolution


class NotRecordableError(ValueError):
    """A parameter enters by an operation that is not recorded, or samples are not independent."""


class RandomOutputError(NotRecordableError):
    """The model draws random numbers, so it has no kernel."""


@dataclass(frozen=True)
class Call:
    """One call of a linear layer.

    Attributes:
        layer: decomposition of input and output into the weight's derivative.
        given: the input, shape (N, …).
        version: version counter of the input at the call; changes in place raise it.
        edge: index of the output among the tape's edges.
        shape: shape of the output.
    """

    layer: Layer
    given: Tensor
    version: int
    edge: int
    shape: torch.Size


@dataclass
class Tape(TorchFunctionMode):
    """Context that records the torch functions with a parameter as argument.

    Args:
        rows: N, number of samples in the batch.
        names: names of the parameters, by `id`.
        owners: descriptions of the parameters for messages, by name.

    Attributes:
        calls: calls by parameter, layer and shapes of input and output.
        biases: calls by the parameter that is their bias.
        edges: edges of autograd's graph: outputs of calls, and parameters that enter elementwise.
        leaves: indices of the edges of parameters that enter elementwise, repeated by sample.
        numbers: total number of entries of the inputs.
    """

    rows: int
    names: dict[int, str]
    owners: Mapping[str, str]
    calls: dict[tuple[str, Any], list[Call]] = field(default_factory=lambda: defaultdict(list))
    biases: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    edges: list[tuple[GradientEdge, torch.Size]] = field(default_factory=list)
    leaves: dict[str, int] = field(default_factory=dict)
    numbers: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self._expanded: dict[str, Tensor] = {}
        self._kept: list[Tensor] = []  # transposed weights, kept so that their ids stay unique
        self._transposed: set[int] = set()

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`, and record the call if a parameter is an argument."""
        kwargs = kwargs or {}
        leaves = _leaves([*args, *kwargs.values()])
        used = [leaf for leaf in leaves if id(leaf) in self.names]
        if not used:
            _refuse_foreign(leaves)
            return func(*args, **kwargs)
        if func in ELEMENTWISE and not kwargs:
            return func(*self._by_sample(func, args, used[0]))
        output = func(*args, **kwargs)
        # Reading a parameter's shape or dtype returns no tensor and is not a use.
        if not any(isinstance(leaf, Tensor) for leaf in _leaves([output])) or output is used[0]:
            return output
        if func in TRANSPOSED and used[0].ndim == 2 and torch.is_grad_enabled():
            return self._transpose(used[0], output)
        return self._recorded(func, args, kwargs, output, used[0])

    def check(self) -> None:
        """Check that the recorded calls determine the derivatives.

        Raises:
            NotRecordableError: an input is changed in place after its call, or a weight is used in several
                forms.
        """
        arrangements = defaultdict(set)
        for (name, (layer, *_)), calls in self.calls.items():
            arrangements[name].add(layer.arrangement)
            if any(call.given._version != call.version for call in calls):
                raise self._refused(name, "has a call whose input is changed in place afterwards")
            if name in self.leaves:  # a bias has one dimension, so it is no weight
                raise self._refused(name, "is a weight in one place and added or multiplied in another")
        for name, layouts in arrangements.items():
            if len(layouts) > 1:
                raise self._refused(name, "is used both as W and as W^T, or with several numbers of groups")

    def _transpose(self, used: Tensor, output: Tensor) -> Tensor:
        self.names[id(output)] = self.names[id(used)]
        self._kept.append(output)
        if id(used) not in self._transposed:  # otherwise the result is the weight
            self._transposed.add(id(output))
        return output

    def _recorded(
        self, func: Callable, args: tuple, kwargs: dict[str, Any], output: Tensor, used: Tensor
    ) -> Tensor:
        call = _linear_call(func, args, kwargs, self._transposed)
        if call is None or not self._recordable(*call[:3], output):
            raise self._refusal(func, used)
        given, weight, bias, layer = call
        if not output.requires_grad:  # the call does not depend on the input, but on the time for example
            # A copy, because an activation may change it in place, which a leaf does not allow.
            output = output.requires_grad_().clone()
        entry = Call(layer, given.detach(), given._version, self._edge(output), output.shape)
        self.numbers += given.numel()
        if id(weight) in self.names:
            self.calls[self.names[id(weight)], (layer, given.shape, output.shape)].append(entry)
        if id(bias) in self.names:
            self.biases[self.names[id(bias)]].append(entry)
        return output

    def _recordable(self, given: Tensor, weight: Tensor, bias: Tensor | None, output: Tensor) -> bool:
        """Whether the input is the batch, and the arguments have the shapes of the modules."""
        # Gradients are off inside an autograd.Function with a custom backward pass, or under no_grad.
        if not torch.is_grad_enabled() or torch._C._functorch.is_functorch_wrapped_tensor(output):
            return False
        batch = given.ndim >= 2 and len(given) == self.rows and id(given) not in self.names
        return batch and weight.ndim >= 2 and (bias is None or bias.shape == (len(weight),))

    def _edge(self, output: Tensor) -> int:
        self.edges.append((get_gradient_edge(output), output.shape))
        return len(self.edges) - 1

    def _by_sample(self, func: Callable, args: tuple, used: Tensor) -> tuple:
        """The arguments with each parameter repeated by sample, so that its gradient is per sample."""
        batch = [a for a in args if isinstance(a, Tensor) and id(a) not in self.names and a.ndim > 0]
        if not batch or len(batch[0]) != self.rows or not torch.is_grad_enabled():
            raise self._refusal(func, used)
        return tuple(self._repeated(a, batch[0].ndim, func) if id(a) in self.names else a for a in args)

    def _repeated(self, parameter: Tensor, dimensions: int, func: Callable) -> Tensor:
        name = self.names[id(parameter)]
        if parameter.ndim >= dimensions or id(parameter) in self._transposed:
            raise self._refusal(func, parameter)
        if name not in self.leaves:
            leaf = parameter.detach().expand(self.rows, *parameter.shape).clone().requires_grad_()
            self.leaves[name] = self._edge(leaf)
            self._expanded[name] = leaf
        ones = (1,) * (dimensions - 1 - parameter.ndim)
        return self._expanded[name].view(self.rows, *ones, *parameter.shape)

    def _refusal(self, func: Callable, used: Tensor) -> NotRecordableError:
        name, where = getattr(func, "__name__", str(func)), ""
        if not torch.is_grad_enabled():
            where = " without gradients (torch.no_grad, or an autograd.Function)"
        return self._refused(
            self.names[id(used)],
            f"is used by {name}{where}; recorded are Linear, Conv1d and Conv2d layers, x @ W with a batch x "
            "of shape (N, …), and elementwise arithmetic with a batch",
        )

    def _refused(self, name: str, why: str) -> NotRecordableError:
        return NotRecordableError(f"{self.owners[name]} {why}: use method='jacobian'")


def _refuse_foreign(leaves: Sequence[Any]) -> None:
    """Refuse tensors that require a gradient: all parameters of the copied model are frozen."""
    for leaf in leaves:
        if type(leaf) is nn.Parameter and leaf.requires_grad:
            raise ValueError(
                f"the model uses a trainable parameter of shape {tuple(leaf.shape)} that is not among its "
                "parameters(): it is in a plain list, or in a lambda that refers to the original of a copied "
                "model; register it, or freeze it by requires_grad_(False)"
            )


def _functions(*names: str) -> set[Any]:
    return {getattr(place, name) for place in (torch, Tensor) for name in names if hasattr(place, name)}


ELEMENTWISE = _functions(
    *("add", "sub", "mul", "div", "true_divide", "subtract", "multiply", "divide"),
    *("maximum", "minimum", "pow"),
    *("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__", "__rtruediv__"),
)
MATMUL = _functions("matmul", "mm", "__matmul__")
TRANSPOSED = _functions("t") | {Tensor.T.__get__, Tensor.mT.__get__}  # type: ignore[attr-defined]


def _linear_call(
    func: Callable, args: tuple, kwargs: Mapping[str, Any], transposed: set[int]
) -> tuple[Tensor, Tensor, Tensor | None, Layer] | None:
    """(input, weight, bias, layer) of a call of a linear layer; None for other functions.

    Args:
        func: a torch function.
        args: its positional arguments.
        kwargs: its keyword arguments.
        transposed: ids of the transposes of parameters.
    """
    if func is F.linear:
        given, weight, bias = _layer_arguments(*args, **kwargs)[:3]
        return given, weight, bias, Linear(transposed=id(weight) in transposed)
    if func in (F.conv1d, F.conv2d):
        given, weight, bias, options = _layer_arguments(*args, **kwargs)
        batched = given.ndim == weight.ndim
        return (given, weight, bias, convolution(weight, **options)) if batched else None
    if func in MATMUL and len(args) == 2 and args[1].ndim == 2:
        return args[0], args[1], None, Linear(transposed=id(args[1]) not in transposed)
    return None


def _layer_arguments(
    input: Tensor,  # noqa: A002 — torch's name
    weight: Tensor,
    bias: Tensor | None = None,
    *positional: Any,
    **named: Any,
) -> tuple[Tensor, Tensor, Tensor | None, dict[str, Any]]:
    options = dict(zip(("stride", "padding", "dilation", "groups"), positional, strict=False)) | named
    return input, weight, bias, options


def _leaves(values: Iterable[Any]) -> list[Any]:
    """The values within nested tuples, lists and dicts."""
    leaves: list[Any] = []
    for value in values:
        if isinstance(value, (tuple, list)):
            leaves += _leaves(value)
        elif isinstance(value, dict):
            leaves += _leaves(value.values())
        else:
            leaves.append(value)
    return leaves
