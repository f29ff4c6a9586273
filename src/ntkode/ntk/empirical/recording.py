"""Recording of every linear call of a model: its input and the cotangents of its output.

A weight's derivative is a sum over its calls c of outer products, ∂f/∂W = Σ_c g_c a_c^T (input a_c,
cotangent g_c = ∂f/∂(W a_c)), so a kernel needs the a_c and g_c alone, never a weight gradient.
One forward pass and one backward pass per output give them for a whole batch.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ntkode.ntk.empirical.layers import Layer
from ntkode.ntk.empirical.tape import Call, NotRecordableError, RandomOutputError, Tape

__all__ = ["Calls", "NotRecordableError", "RandomOutputError", "Recorder", "Recording"]

# Bound on the relative dependence of an output on other samples of the batch: the first step of an adaptive
# solver causes 1e-8.
MAX_COUPLING = 1e-6
# Largest relative difference between recorded and single-sample derivatives: an adaptive solver takes
# different steps for one sample than for several. Errors of the recording are larger.
MAX_ERROR = 1e-3
# Number of samples on which the recording is verified.
VERIFIED = 3
# Adjoint passes of several outputs run at once up to this number of rows (samples × outputs); more rows
# exceed a core's cache and are slower.
BATCHED_ROWS = 2048


@dataclass(frozen=True)
class Calls:
    """Calls of one weight in one batched forward pass, all of one shape.

    Attributes:
        layer: decomposition of input and output into the weight's derivative.
        inputs: a_c, shape (C, N, …).
        cotangents: g_c for each of K outputs, shape (C, K, N, …).
    """

    layer: Layer
    inputs: Tensor
    cotangents: Tensor

    def first(self) -> Tensor:
        """Σ_c g_c a_c^T of the first sample and seed, flat, in the order of the weight's entries; float64."""
        a = self.layer.patches(self.inputs[:, 0].double())
        g = self.layer.channels(self.cotangents[:, 0, 0].double())
        return self.layer.weight(torch.einsum("blnq,blnp->bqp", g, a))


@dataclass(frozen=True)
class Recording:
    """Recorded calls and gradients of a batch of N samples, for K outputs or combinations of them.

    Attributes:
        calls: the calls of each weight, by parameter name.
        gradients: per-sample gradients, float64, shape (K, N, size), of biases and of parameters that
            enter elementwise.
    """

    calls: dict[str, list[Calls]]
    gradients: dict[str, Tensor]

    def first(self, name: str) -> Tensor | float:
        """The first sample's derivative by a parameter, for the first seed; flat, float64; 0 if unused."""
        parts = [calls.first() for calls in self.calls.get(name, [])]
        if name in self.gradients:
            parts.append(self.gradients[name][0, 0])
        return torch.stack(parts).sum(0) if parts else 0.0


class Recorder:
    """Recorder of the calls of a model, batch by batch.

    Args:
        model: maps (N, …) to (N, k), each row by itself. Its trained parameters enter through `F.linear`,
            `F.conv1d`, `F.conv2d` (the modules use them) or `@`, as their biases, or by elementwise
            arithmetic with the batch. The recorder copies it.

    Raises:
        NotRecordableError: a module couples the samples of a batch, or its calls cannot be recorded.
        RandomOutputError: a module draws random numbers.
    """

    def __init__(self, model: nn.Module) -> None:
        for name, module in model.named_modules():
            _check_module(name, module)
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        self._model = copy.deepcopy(model).requires_grad_(False)
        self._names = {id(p): name for name, p in self._model.named_parameters() if name in trained}
        modules = dict(self._model.named_modules())
        self._owners = {n: _described(n, modules[n.rpartition(".")[0]]) for n in self._names.values()}

    def __call__(self, x: Tensor, seeds: Tensor) -> Recording:
        """Record the calls on the rows of x.

        Args:
            x: inputs of shape (N, …) in the parameters' dtype.
            seeds: combinations of outputs to differentiate, shape (K, k): the unit matrix for each output.

        Raises:
            NotRecordableError: a parameter enters by another operation; the message names it and its module.
        """
        tape, f = self._run(_copy(x))
        return _recording(tape, _adjoint_passes(f, tape.edges, seeds.to(f)))

    def coupling(self, x: Tensor) -> tuple[float, int]:
        """Relative change of a sample's derivative by its batch, and the recorded numbers per row.

        Verifies the recording on a few rows: the first row in the batch, alone, and by plain autograd.

        Raises:
            NotRecordableError: the rows depend on each other by more than `MAX_COUPLING`, or a derivative
                differs from the recorded one; the message names its parameter.
            RandomOutputError: the model draws random numbers.
        """
        alone = self._gradients(x[:1])
        # Repeat a single row, because later batches have more rows.
        batch = _copy(x[torch.arange(VERIFIED, device=x.device) % len(x)])
        entry = (get_gradient_edge(batch), batch.shape)
        tape, f = self._run(batch)
        edges = [entry, *tape.edges]
        passes = torch.autograd.grad(f[0] @ _seed(f), [edge for edge, _ in edges], allow_unused=True)
        gradients = [_joined([g], shape, f) for g, (_, shape) in zip(passes, edges, strict=True)]
        leak = _leak(gradients)
        if leak > MAX_COUPLING:
            raise NotRecordableError(
                f"the samples of a batch depend on one another (relative derivative {leak:.1e}), so they "
                "have no kernel: use model.eval(), or method='jacobian', which takes them one by one"
            )
        recording = _recording(tape, [gradient[None] for gradient in gradients[1:]])
        error = self._error(alone, recording, torch.finfo(x.dtype).eps)
        numbers = tape.numbers // len(f) + f.shape[1] * sum(e[1].numel() for e in tape.edges) // len(f)
        return max(leak, error), numbers

    def _error(self, alone: dict[str, Tensor], recording: Recording, eps: float) -> float:
        """Largest relative error of the first row's recorded derivatives; 0 if it is only rounding."""
        total = max(float(gradient.norm()) for gradient in alone.values())
        largest = 0.0
        for name, gradient in alone.items():
            difference = float((gradient.flatten().double() - recording.first(name)).norm())
            # A gradient that vanishes exactly has the size of the rounding of the others.
            scale = float(gradient.norm()) + eps**0.5 * total
            error = difference / scale if scale > 0 else 0.0
            if error > MAX_ERROR:
                raise NotRecordableError(
                    f"{self._owners[name]} has another derivative than its recorded calls (relative error "
                    f"{error:.1e}): it enters by an unrecorded call, or a sample's output depends on its "
                    "batch; use method='jacobian'"
                )
            largest = max(largest, error)
        return largest if largest > 1000 * eps else 0.0

    def _gradients(self, x: Tensor) -> dict[str, Tensor]:
        """∂(seed · f)/∂θ of one row by plain autograd, by parameter name."""
        trained = [p for p in self._model.parameters() if id(p) in self._names]
        state = _random_state(x.device)
        try:
            for p in trained:
                p.requires_grad_()
            with torch.enable_grad():
                f = self._model(_copy(x))
            gradients = torch.autograd.grad(f[0] @ _seed(f), trained, materialize_grads=True)
        finally:
            self._model.requires_grad_(False)
        if not torch.equal(state, _random_state(x.device)):
            raise RandomOutputError("the model draws random numbers, so it has no kernel: use model.eval()")
        return {self._names[id(p)]: g for p, g in zip(trained, gradients, strict=True)}

    def _run(self, x: Tensor) -> tuple[Tape, Tensor]:
        tape = Tape(len(x), dict(self._names), self._owners)
        with torch.enable_grad(), tape:
            f = self._model(x)
        tape.check()
        if f.ndim != 2 or len(f) != len(x):
            raise ValueError(f"the model's output has shape {tuple(f.shape)}, not (N={len(x)}, k)")
        return tape, f


def _described(parameter: str, module: nn.Module) -> str:
    path = parameter.rpartition(".")[0]
    return f"parameter {parameter!r}" + (f" of module {path!r} ({type(module).__name__})" if path else "")


def _check_module(name: str, module: nn.Module) -> None:
    description = f"module {name!r} ({type(module).__name__})"
    if module.training and isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
        raise RandomOutputError(f"{description} makes the output random: use model.eval()")
    if module.training and isinstance(module, nn.modules.batchnorm._BatchNorm):
        raise NotRecordableError(
            f"{description} makes a sample's output depend on its batch in training mode: use model.eval()"
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise NotRecordableError(
            f"{description} is compiled, so its calls cannot be recorded: use method='jacobian'"
        )


def _copy(x: Tensor) -> Tensor:
    """Input that requires a gradient, so that calls are in the graph; no leaf, so the model may change it."""
    with torch.enable_grad():
        return x.detach().clone().requires_grad_().clone()


def _seed(f: Tensor) -> Tensor:
    """Combination of the outputs; not their sum, which is constant for a softmax."""
    return torch.linspace(1.0, 2.0, f.shape[1]).to(f)


def _random_state(device: torch.device) -> Tensor:
    state = torch.get_rng_state()
    return torch.cat([state, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else state


def _leak(gradients: Sequence[Tensor]) -> float:
    """Largest derivative of the first row's output by other rows, relative to that by its input."""
    same = max(float(gradient[0].abs().max()) for gradient in gradients)
    other = max(float(gradient[1:].abs().max()) for gradient in gradients)
    return other / same if same > 0 else 0.0


def _adjoint_passes(
    f: Tensor, edges: Sequence[tuple[GradientEdge, torch.Size]], seeds: Tensor
) -> list[Tensor]:
    """∂(seed · f)/∂(call output) for every edge, shape (K, N, …), several seeds at once."""
    points = [edge for edge, _ in edges]
    if not points:
        return []
    parts = []
    for some in seeds.split(max(1, BATCHED_ROWS // len(f))):
        try:
            parts += _passes(f, points, some)
        except RuntimeError:
            # A custom backward pass may not support several at once.
            if len(some) == 1:
                raise
            parts += [part for one in some.split(1) for part in _passes(f, points, one)]
    return [
        _joined(of_edge, (len(seeds), *shape), f)
        for of_edge, (_, shape) in zip(zip(*parts, strict=True), edges, strict=True)
    ]


def _passes(f: Tensor, points: Sequence[GradientEdge], seeds: Tensor) -> list[tuple[Tensor | None, ...]]:
    cotangents, batched = seeds[:, None, :].expand(-1, len(f), -1), len(seeds) > 1
    part = torch.autograd.grad(
        f,
        points,
        cotangents if batched else cotangents[0],
        is_grads_batched=batched,
        retain_graph=True,
        allow_unused=True,
    )
    return [part if batched else tuple(None if g is None else g[None] for g in part)]


def _joined(parts: Sequence[Tensor | None], shape: Sequence[int], like: Tensor) -> Tensor:
    """Cotangents of one edge from all passes; zero if no output depends on the call."""
    given = [part for part in parts if part is not None]
    if not given:
        return like.new_zeros(shape)
    return given[0] if len(given) == 1 else torch.cat(given)


def _recording(tape: Tape, gradients: Sequence[Tensor]) -> Recording:
    calls: dict[str, list[Calls]] = defaultdict(list)
    for (name, _), alike in tape.calls.items():
        cotangents = torch.stack([gradients[call.edge] for call in alike])
        calls[name].append(Calls(alike[0].layer, torch.stack([call.given for call in alike]), cotangents))
    whole: dict[str, Tensor] = {}
    for name, of_bias in tape.biases.items():
        whole[name] = torch.stack([_bias_gradient(call, gradients) for call in of_bias]).sum(0)
    for name, edge in tape.leaves.items():
        gradient = gradients[edge].double().unsqueeze(-1).flatten(2)  # a scalar parameter has one entry
        whole[name] = whole[name] + gradient if name in whole else gradient
    return Recording(dict(calls), whole)


def _bias_gradient(call: Call, gradients: Sequence[Tensor]) -> Tensor:
    """Sum of one call's cotangents over positions, shape (K, N, size), float64."""
    gradient = gradients[call.edge]
    channels = call.layer.channels(gradient.flatten(0, 1)).double().sum(1)  # (groups, K·N, q)
    return channels.transpose(0, 1).flatten(1).unflatten(0, gradient.shape[:2])
