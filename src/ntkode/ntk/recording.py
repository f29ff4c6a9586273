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
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from ntkode.ntk.layers import Layer, Linear, convolution

# A sample's output may depend on its batch by as much: an adaptive solver's first step does, by 1e-8.
MOST_COUPLING = 1e-6
# Modules whose output for one sample, in training, is drawn at random or depends on the others.
OF_THE_BATCH = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
# Adjoint passes of several outputs go through the graph at once up to as many rows (samples × outputs):
# wider ones fall out of a core's cache and are slower.
BATCHED_ROWS = 2048


class NotRecordableError(ValueError):
    """A parameter enters the model by another way than recorded calls, or samples are not independent."""


@dataclass(frozen=True)
class Calls:
    """Calls of one weight in one batched forward pass, all of one shape.

    Attributes:
        layer: how input and output make the weight's derivative.
        inputs: a_c, shape (C, N, …).
        cotangents: g_c by output, shape (C, K, N, …).
    """

    layer: Layer
    inputs: Tensor
    cotangents: Tensor


@dataclass(frozen=True)
class Recording:
    """What a batch of N samples leaves behind, for K outputs (or combinations of outputs).

    Attributes:
        calls: of each weight, by the parameter's name.
        gradients: per-sample gradients, float64, shape (K, N, size), of biases and of parameters that
            enter elementwise.
    """

    calls: dict[str, list[Calls]]
    gradients: dict[str, Tensor]


class Recorder:
    """Records a model's calls, batch by batch.

    Args:
        model: maps (N, …) to (N, k), each row by itself. Its trained parameters enter through `F.linear`,
            `F.conv1d`, `F.conv2d` (the modules use them) or `@`, as their biases, or by elementwise
            arithmetic with the batch. It is copied.

    Raises:
        NotRecordableError: a module that draws random numbers or couples the samples of a batch.
    """

    def __init__(self, model: nn.Module) -> None:
        for name, module in model.named_modules():
            if module.training and isinstance(module, OF_THE_BATCH):
                raise NotRecordableError(
                    f"module {name!r} ({type(module).__name__}) makes a sample's output depend on chance or "
                    "on its batch while it trains: take model.eval()"
                )
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        self._model = copy.deepcopy(model).requires_grad_(False)
        self._names = {id(p): name for name, p in self._model.named_parameters() if name in trained}
        modules = dict(self._model.named_modules())
        self._owners = {n: _described(n, modules[n.rpartition(".")[0]]) for n in self._names.values()}

    def __call__(self, x: Tensor, seeds: Tensor) -> Recording:
        """Calls on the rows of x.

        Args:
            x: inputs of shape (N, …) in the parameters' dtype.
            seeds: combinations of outputs to differentiate, shape (K, k): the unit matrix for each output.

        Raises:
            NotRecordableError: a parameter enters in another way; it and its module are named.
        """
        tape, f = self._run(x)
        gradients = _adjoint_passes(f, tape.edges, seeds.to(f))
        calls: dict[str, list[Calls]] = defaultdict(list)
        for (name, _), alike in tape.calls.items():
            calls[name].append(_stacked(alike, gradients))
        whole: dict[str, Tensor] = {}
        for name, of_bias in tape.biases.items():
            whole[name] = torch.stack([_bias_gradient(call, gradients) for call in of_bias]).sum(0)
        for name, edge in tape.leaves.items():
            own = gradients[edge].flatten(2).double()
            whole[name] = whole[name] + own if name in whole else own
        return Recording(dict(calls), whole)

    def coupling(self, x: Tensor) -> tuple[float, int]:
        """(Relative derivative of the first row's output by other rows' calls; recorded numbers a row).

        Raises:
            NotRecordableError: the rows depend on one another by more than `MOST_COUPLING`.
        """
        tape, f = self._run(x[:3])
        edges = [edge for edge, _ in tape.edges]
        gradients = torch.autograd.grad(f[0].sum(), edges, allow_unused=True)
        own = other = 0.0
        for gradient in gradients:
            if gradient is not None:
                own = max(own, float(gradient[0].abs().max()))
                other = max(other, float(gradient[1:].abs().max()) if len(gradient) > 1 else 0.0)
        leak = other / own if own > 0 else 0.0
        if leak > MOST_COUPLING:
            raise NotRecordableError(
                f"the samples of a batch depend on one another (relative derivative {leak:.1e}), as no "
                "kernel of single samples can: take model.eval(), or method='jacobian' one by one"
            )
        return leak, tape.numbers // len(f) + f.shape[1] * sum(e[1].numel() for e in tape.edges) // len(f)

    def _run(self, x: Tensor) -> tuple[_Tape, Tensor]:
        tape = _Tape(len(x), dict(self._names), self._owners)
        with torch.enable_grad(), tape:
            # An input that requires a gradient puts every call into autograd's graph, though no weight does.
            f = self._model(x.detach().clone().requires_grad_())
        tape.check()
        if f.ndim != 2 or len(f) != len(x):
            raise ValueError(f"the model's output has shape {tuple(f.shape)}, not (N={len(x)}, k)")
        return tape, f


def _described(parameter: str, module: nn.Module) -> str:
    path = parameter.rpartition(".")[0]
    return f"parameter {parameter!r}" + (f" of module {path!r} ({type(module).__name__})" if path else "")


def _adjoint_passes(
    f: Tensor, edges: Sequence[tuple[GradientEdge, torch.Size]], seeds: Tensor
) -> list[Tensor]:
    """∂(seed · f)/∂(call output) for every edge, shape (K, N, …), several seeds at once."""
    points = [edge for edge, _ in edges]
    parts = []
    for some in seeds.split(max(1, BATCHED_ROWS // len(f))):
        cotangents = some[:, None, :].expand(-1, len(f), -1)
        batched = len(some) > 1
        part = torch.autograd.grad(
            f,
            points,
            cotangents if batched else cotangents[0],
            is_grads_batched=batched,
            retain_graph=True,
            allow_unused=True,
        )
        parts.append(part if batched else [None if g is None else g[None] for g in part])
    return [
        _joined(of_edge, (len(seeds), *shape), f)
        for of_edge, (_, shape) in zip(zip(*parts, strict=True), edges, strict=True)
    ]


def _joined(parts: Sequence[Tensor | None], shape: Sequence[int], like: Tensor) -> Tensor:
    """One edge's cotangents from the passes; zero where no output depends on the call."""
    given = [part for part in parts if part is not None]
    if not given:
        return like.new_zeros(shape)
    return given[0] if len(given) == 1 else torch.cat(given)


@dataclass(frozen=True)
class _Call:
    layer: Layer
    given: Tensor
    version: int
    edge: int
    shape: torch.Size


def _stacked(calls: Sequence[_Call], gradients: Sequence[Tensor]) -> Calls:
    cotangents = torch.stack([gradients[call.edge] for call in calls])
    return Calls(calls[0].layer, torch.stack([call.given for call in calls]), cotangents)


def _bias_gradient(call: _Call, gradients: Sequence[Tensor]) -> Tensor:
    """Σ over positions of one call's cotangents, shape (K, N, size), float64."""
    gradient = gradients[call.edge]
    channels = call.layer.channels(gradient.flatten(0, 1)).double().sum(1)  # (groups, K·N, q)
    return channels.transpose(0, 1).flatten(1).unflatten(0, gradient.shape[:2])


@dataclass
class _Tape(TorchFunctionMode):
    """Watches torch functions: keeps the calls of parameters, refuses any other use of one."""

    rows: int
    names: dict[int, str]
    owners: Mapping[str, str]
    calls: dict[tuple[str, Any], list[_Call]] = field(default_factory=lambda: defaultdict(list))
    biases: dict[str, list[_Call]] = field(default_factory=lambda: defaultdict(list))
    edges: list[tuple[GradientEdge, torch.Size]] = field(default_factory=list)
    leaves: dict[str, int] = field(default_factory=dict)
    numbers: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self._kept: list[Tensor] = []  # transposed weights, whose ids must not be given to others
        self._expanded: dict[str, Tensor] = {}

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        used = [leaf for leaf in _leaves((args, kwargs)) if id(leaf) in self.names]
        if not used:
            return func(*args, **kwargs)
        if func in ELEMENTWISE and not kwargs:
            return func(*self._by_sample(func, args))
        output = func(*args, **kwargs)
        # Looking at a parameter's shape or dtype gives no tensor, and is no use of it.
        if not any(isinstance(leaf, Tensor) for leaf in _leaves(output)) or output is used[0]:
            return output
        if func in TRANSPOSED and used[0].ndim == 2:
            self.names[id(output)] = self.names[id(used[0])]
            self._kept.append(output)
            return output
        self._record(func, args, kwargs, output, used[0])
        return output

    def _record(
        self, func: Callable, args: tuple, kwargs: dict[str, Any], output: Tensor, used: Tensor
    ) -> None:
        call = _linear_call(func, args, kwargs)
        given, weight, bias, layer = call or (used, used, None, Linear())
        by_rows = given.ndim >= 2 and len(given) == self.rows and id(given) not in self.names
        if call is None or not by_rows:
            raise self._refusal(func, used)
        if not output.requires_grad:  # a layer that sees no input, only the time, say
            output.requires_grad_()
        index = self._edge(output)
        entry = _Call(layer, given.detach(), given._version, index, output.shape)
        self.numbers += given.numel()
        if id(weight) in self.names:
            self.calls[self.names[id(weight)], (layer, given.shape, output.shape)].append(entry)
        if id(bias) in self.names:
            self.biases[self.names[id(bias)]].append(entry)

    def _edge(self, output: Tensor) -> int:
        self.edges.append((get_gradient_edge(output), output.shape))
        return len(self.edges) - 1

    def _by_sample(self, func: Callable, args: tuple) -> tuple:
        """The arguments with each parameter repeated by sample, so that its gradient comes by sample."""
        batch = [a for a in args if isinstance(a, Tensor) and id(a) not in self.names and a.ndim > 0]
        if not batch or len(batch[0]) != self.rows:
            raise self._refusal(func, next(a for a in args if id(a) in self.names))
        return tuple(self._repeated(a, batch[0].ndim, func) if id(a) in self.names else a for a in args)

    def _repeated(self, parameter: Tensor, dimensions: int, func: Callable) -> Tensor:
        name = self.names[id(parameter)]
        if parameter.ndim >= dimensions or name in {key[0] for key in self.calls}:
            raise self._refusal(func, parameter)
        if name not in self.leaves:
            leaf = parameter.detach().expand(self.rows, *parameter.shape).clone().requires_grad_()
            self.leaves[name] = self._edge(leaf)
            self._expanded[name] = leaf
        ones = (1,) * (dimensions - 1 - parameter.ndim)
        return self._expanded[name].view(self.rows, *ones, *parameter.shape)

    def _refusal(self, func: Callable, used: Tensor) -> NotRecordableError:
        owner = self.owners[self.names[id(used)]]
        return NotRecordableError(
            f"{owner} is used by {getattr(func, '__name__', func)}; recorded are Linear, Conv1d and Conv2d "
            "layers, x @ W with a batch x of shape (N, …), and elementwise arithmetic with a batch: "
            "take method='jacobian'"
        )

    def check(self) -> None:
        """Refuse inputs that were changed in place after their call, and weights used in both ways."""
        for (name, _), calls in self.calls.items():
            if any(call.given._version != call.version for call in calls) or name in self.leaves:
                raise NotRecordableError(
                    f"{self.owners[name]}: an input of one of its calls is changed in place afterwards, or "
                    "it is used elementwise too: take method='jacobian'"
                )


def _functions(*names: str) -> set[Any]:
    return {getattr(place, name) for place in (torch, Tensor) for name in names if hasattr(place, name)}


ELEMENTWISE = _functions(
    *(
        "add",
        "sub",
        "mul",
        "div",
        "true_divide",
        "subtract",
        "multiply",
        "divide",
        "maximum",
        "minimum",
        "pow",
    ),
    *("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__", "__rtruediv__"),
)
MATMUL = _functions("matmul", "mm", "__matmul__")
TRANSPOSED = _functions("t") | {Tensor.T.__get__, Tensor.mT.__get__}  # type: ignore[attr-defined]


def _linear_call(
    func: Callable, args: tuple, kwargs: Mapping[str, Any]
) -> tuple[Tensor, Tensor, Tensor | None, Layer] | None:
    """(input, weight, bias, layer) of a call by which parameters may enter a model, else None."""
    if func is F.linear:
        given, weight, bias = _layer_arguments(*args, **kwargs)[:3]
        return given, weight, bias, Linear()
    if func in (F.conv1d, F.conv2d):
        given, weight, bias, options = _layer_arguments(*args, **kwargs)
        batched = given.ndim == weight.ndim
        return (given, weight, bias, convolution(weight, **options)) if batched else None
    if func in MATMUL and len(args) == 2 and args[1].ndim == 2:
        return args[0], args[1], None, Linear()
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


def _leaves(value: Any) -> Iterator[Any]:
    """The values within nested tuples, lists and dicts."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
