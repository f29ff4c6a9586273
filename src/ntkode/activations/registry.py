"""The registry: `Activation` objects from names or from callables."""

import difflib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Annotated, TypeVar

import torch
from torch import Tensor, nn

from ntkode.activations.profile import Profile, compute_profile
from ntkode.activations.smoothness import derivatives

F = TypeVar("F", bound=Callable[..., Tensor])

Positive = Annotated[float, "positive"]
"""Annotation of a parameter that must be > 0."""

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {}
_DERIVATIVES: dict[str, Callable[..., Tensor]] = {}


@dataclass(frozen=True)
class Activation:
    """An elementwise function φ with its derivative and profile.

    Call it on a tensor of any shape and floating dtype; the result has the same shape and dtype.

    Attributes:
        name: registered name, with the parameters that differ from their defaults: ``softplus(beta=4)``.
        function: φ with its parameters bound.
        closed_form_derivative: φ' if the registry has a formula; None: `derivative` uses autograd.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    closed_form_derivative: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)

    def __call__(self, x: Tensor) -> Tensor:
        """φ(x), elementwise, of the shape and dtype of x."""
        return self.function(x)

    def derivative(self, x: Tensor) -> Tensor:
        """φ'(x), elementwise and differentiable; at a kink the value of torch's autograd."""
        if self.closed_form_derivative is not None:
            return self.closed_form_derivative(x)
        pullback = torch.func.vjp(self.function, x)[1]
        slope: Tensor = pullback(torch.ones_like(x))[0]
        return slope

    @cached_property
    def profile(self) -> Profile:
        """Smoothness, Lipschitz constants and Hermite spectrum; computed on first use, in under a second."""
        return compute_profile(self.function)


def register(function: F) -> F:
    """Decorator: register a function ``φ(x, *, parameter=default, …)`` under its name.

    Parameters are keyword-only floats with defaults; annotate one as `Positive` to refuse values ≤ 0.
    """
    name = function.__name__
    known = _FUNCTIONS.get(name)
    if known is not None and known.__module__ != function.__module__:
        raise ValueError(
            f"activation {name!r} is already registered by {known.__module__}: choose another name"
        )
    _FUNCTIONS[name] = function
    _DERIVATIVES.pop(name, None)
    _bind.cache_clear()
    return function


def derivative_of(function: Callable[..., Tensor]) -> Callable[[F], F]:
    """Decorator: the closed form of φ' for a registered φ, taking the same parameters.

    Register one only if it is faster than autograd's backward kernel.
    """

    def remember(derivative: F) -> F:
        _DERIVATIVES[function.__name__] = derivative
        return derivative

    return remember


def names() -> tuple[str, ...]:
    """The registered names, in the order of registration."""
    return tuple(_FUNCTIONS)


def get(name: str, **parameters: float) -> Activation:
    """The registered activation of that name, for example ``get("softplus", beta=4.0)``.

    Raises:
        ValueError: the name is unknown, or a parameter is unknown, not a finite number or out of its range.

    Example:
        >>> import torch
        >>> softplus = get("softplus", beta=4.0)
        >>> softplus.name
        'softplus(beta=4)'
        >>> softplus(torch.zeros(1)).item()  # log(2) / 4
        0.173...
    """
    if name not in _FUNCTIONS:
        nearest = difflib.get_close_matches(str(name).lower(), _FUNCTIONS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"unknown activation {name!r}: did you mean {nearest!r}? Try activation={nearest}. "
            f"Known: {', '.join(sorted(_FUNCTIONS))}. To add one: ntkode.activations.from_callable."
        )
    declared = inspect.signature(_FUNCTIONS[name], eval_str=True).parameters
    defaults = {key: p for key, p in declared.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    for key, value in parameters.items():
        _check_parameter(name, key, value, defaults)
    changed = {key: float(v) for key, v in parameters.items() if float(v) != defaults[key].default}
    return _bind(name, tuple(sorted(changed.items())))


def from_callable(function: Callable[[Tensor], Tensor], name: str | None = None) -> Activation:
    """An activation from an elementwise callable: a function, or an ``nn.Module`` without parameters.

    Jobs run in other processes, so the callable must be picklable: a module-level function, not a lambda.

    Args:
        function: φ, written with torch operations that can be differentiated several times.
        name: name of the activation; None: the name of the callable.

    Raises:
        ValueError: the callable is not elementwise, has parameters, works in place, is random, does not
            return a finite tensor of the input's shape and dtype, or cannot be differentiated three times.
    """
    if not callable(function):
        raise ValueError(f"an activation must be callable, got {function!r}: use hydra.utils.get_method")
    inner = function.func if isinstance(function, partial) else function
    label = name or str(getattr(inner, "__name__", type(inner).__name__))
    _check_callable(function, label)
    return Activation(label, function)


@cache  # one object per setting, so that its profile is computed once per process
def _bind(name: str, changed: tuple[tuple[str, float], ...]) -> Activation:
    function, derivative = _FUNCTIONS[name], _DERIVATIVES.get(name)
    if not changed:
        return Activation(name, function, derivative)
    keywords = dict(changed)
    arguments = ", ".join(f"{key}={repr(value).removesuffix('.0')}" for key, value in changed)
    return Activation(
        f"{name}({arguments})",
        partial(function, **keywords),
        None if derivative is None else partial(derivative, **keywords),
    )


def _check_parameter(name: str, key: str, value: object, declared: dict[str, inspect.Parameter]) -> None:
    if key not in declared:
        known = ", ".join(declared) if declared else "none"
        raise ValueError(
            f"activation {name!r} has no parameter {key!r} (it has: {known}); try activation={name}"
        )
    remedy = f"try activation.{key}={declared[key].default}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"activation {name!r}: {key} must be a finite number, got {value!r}; {remedy}")
    if declared[key].annotation == Positive and value <= 0:
        raise ValueError(f"activation {name!r}: {key} must be positive, got {value!r}; {remedy}")


def _check_callable(function: Callable[[Tensor], Tensor], label: str) -> None:
    if isinstance(function, nn.Module) and next(function.parameters(), None) is not None:
        raise ValueError(f"activation {label!r} has parameters, which would not be trained: use one without")
    x = torch.linspace(-2.9, 3.1, 12, dtype=torch.float64)
    given = x.clone()
    values = function(x)
    if not isinstance(values, Tensor) or values.shape != x.shape or values.dtype != x.dtype:
        raise ValueError(f"activation {label!r} must return a tensor of its input's shape and dtype")
    if not torch.equal(x, given):
        raise ValueError(f"activation {label!r} changes its input in place: use inplace=False")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(
            f"activation {label!r} is not finite on [-3, 3]: it must be defined on all real numbers"
        )
    one_by_one = torch.cat([function(point) for point in x.clone().split(1)])
    if not torch.allclose(values, one_by_one, rtol=1e-9, atol=1e-12):
        raise ValueError(
            f"activation {label!r} is not elementwise, or is random: φ(x)_i must depend on x_i alone"
        )
    derivatives(function, x, order=3)
