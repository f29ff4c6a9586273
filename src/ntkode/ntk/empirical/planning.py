"""Cost of contractions in operations and memory, and selection of the cheapest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ntkode.ntk.empirical.compression import Basis
from ntkode.ntk.empirical.layout import Layout
from ntkode.ntk.empirical.recording import Calls

# method → the candidate pairs (compressed, contraction)
CANDIDATES: dict[str, tuple[tuple[bool, str], ...]] = {
    "auto": ((False, "pairs"), (False, "build"), (True, "pairs"), (True, "build")),
    "pairs": ((False, "pairs"),),
    "build": ((False, "build"),),
    "compressed": ((True, "pairs"), (True, "build")),
    "uncompressed": ((False, "pairs"), (False, "build")),
}


@dataclass(frozen=True)
class Weight:
    """Sizes of the calls of one weight.

    Attributes:
        p: number of inputs of the weight at one position.
        q: number of outputs of the weight at one position.
        groups: number of groups of a convolution; 1 for other layers.
        positions: number of positions, for each shape of call.
        calls: C, for each shape of call.
        outputs: K, number of differentiated outputs.
        separate: M, number of outputs with separate rows in the kernel.
    """

    p: int
    q: int
    groups: int
    positions: tuple[int, ...]
    calls: tuple[int, ...]
    outputs: int
    separate: int

    @classmethod
    def of(cls, calls: Sequence[Calls], layout: Layout) -> Weight:
        """Sizes of the recorded calls of one weight."""
        a = [some.layer.patches(some.inputs[0, :1]) for some in calls]
        g = [some.layer.channels(some.cotangents[0, 0, :1]) for some in calls]
        outputs = calls[0].cotangents.shape[1]
        return cls(
            p=a[0].shape[-1],
            q=g[0].shape[-1],
            groups=len(a[0]),
            positions=tuple(one.shape[1] for one in g),
            calls=tuple(len(some.inputs) for some in calls),
            outputs=outputs,
            separate=outputs if layout.outputs == "full" else 1,
        )

    def terms(self, bases: Sequence[Basis] | None) -> int:
        """T: number of outer products in the derivative, compressed if `bases` are given."""
        ranks = self.calls if bases is None else [basis.rank for basis in bases]
        return sum(rank * places for rank, places in zip(ranks, self.positions, strict=True))


@dataclass(frozen=True, repr=False)
class Choice:
    """Form of the derivative of one weight, and contraction of its kernel.

    Attributes:
        weight: sizes of the calls.
        contraction: "pairs" of outer products, or "build" the whole derivative first.
        bases: one for each shape of call; None: uncompressed.
    """

    weight: Weight
    contraction: str
    bases: tuple[Basis, ...] | None = None

    @property
    def calls(self) -> int:
        """C, number of calls in one forward pass."""
        return sum(self.weight.calls)

    @property
    def terms(self) -> int:
        """T ≤ C·positions, number of outer products per sample."""
        return self.weight.terms(self.bases)

    @property
    def tail(self) -> float:
        """Relative norm omitted by the compression."""
        return max((basis.tail for basis in self.bases or ()), default=0.0)

    @property
    def numbers(self) -> int:
        """Number of entries stored for the derivative of one sample."""
        w = self.weight
        if self.contraction == "pairs":
            return w.groups * self.terms * (w.p + w.outputs * w.q)
        return w.groups * w.outputs * w.p * w.q

    def __repr__(self) -> str:
        short = "" if self.bases is None else f" compressed to {self.terms} terms"
        return f"{self.calls} calls{short}, {self.contraction}"


Cost = Callable[[Choice], float]


def kernel_flops(n1: int, n2: int) -> Cost:
    """Cost function: operations of a kernel of n1 × n2 samples, including the compression."""

    def flops(choice: Choice) -> float:
        w, t = choice.weight, choice.terms
        by_outputs = w.separate**2 if w.separate > 1 else w.outputs
        project = (
            0
            if choice.bases is None
            else 2 * choice.calls * t * (n1 + n2) * w.groups * (w.p + w.outputs * w.q)
        )
        if choice.contraction == "pairs":
            return project + 2 * w.groups * t**2 * n1 * n2 * (w.p + by_outputs * w.q)
        build = 2 * t * (n1 + n2) * w.outputs
        return project + w.groups * w.p * w.q * (build + 2 * n1 * n2 * by_outputs)

    return flops


def product_numbers(choice: Choice) -> float:
    """Cost function: numbers read per sample in a product with the kernel, which is memory bound."""
    return choice.numbers


def cheapest(choices: Sequence[Choice], cost: Cost, max_numbers: float) -> Choice:
    """The cheapest choice with at most `max_numbers` numbers per sample; if none fits, the smallest."""
    fitting = [choice for choice in choices if choice.numbers <= max_numbers]
    return min(fitting, key=cost) if fitting else min(choices, key=lambda choice: choice.numbers)
