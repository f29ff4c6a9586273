"""What a contraction would cost, in operations and memory, and which one is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ntkode.ntk.empirical.compression import Basis
from ntkode.ntk.empirical.layout import Layout
from ntkode.ntk.empirical.recording import Calls

# method → the (compressed, contraction) pairs that it leaves to choose from
CANDIDATES: dict[str, tuple[tuple[bool, str], ...]] = {
    "auto": ((False, "pairs"), (False, "build"), (True, "pairs"), (True, "build")),
    "pairs": ((False, "pairs"),),
    "build": ((False, "build"),),
    "compressed": ((True, "pairs"), (True, "build")),
    "uncompressed": ((False, "pairs"), (False, "build")),
}


@dataclass(frozen=True)
class Weight:
    """The sizes of one weight's calls.

    Attributes:
        p: inputs of the weight at one position.
        q: outputs of it.
        groups: of a convolution.
        positions: of each shape of call.
        calls: C of each shape of call.
        outputs: K, outputs differentiated.
        separate: M, how many of them have rows of the kernel.
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
        """The sizes of one weight's recorded calls, by which costs are compared."""
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
        """T: outer products that make the derivative, compressed or not."""
        ranks = self.calls if bases is None else [basis.rank for basis in bases]
        return sum(rank * places for rank, places in zip(ranks, self.positions, strict=True))


@dataclass(frozen=True, repr=False)
class Choice:
    """How the derivative of one weight is held, and so how its kernel is computed.

    Attributes:
        weight: sizes.
        contraction: "pairs" of outer products, or "build" the whole derivative first.
        bases: one for each shape of call where the calls are compressed, else None.
    """

    weight: Weight
    contraction: str
    bases: tuple[Basis, ...] | None = None

    @property
    def calls(self) -> int:
        """C, calls in one forward pass."""
        return sum(self.weight.calls)

    @property
    def terms(self) -> int:
        """T ≤ C·positions, outer products that stand for them."""
        return self.weight.terms(self.bases)

    @property
    def tail(self) -> float:
        """Relative norm of what the compression leaves out."""
        return max((basis.tail for basis in self.bases or ()), default=0.0)

    @property
    def numbers(self) -> int:
        """Numbers that the derivative of one sample takes."""
        w = self.weight
        if self.contraction == "pairs":
            return w.groups * self.terms * (w.p + w.outputs * w.q)
        return w.groups * w.outputs * w.p * w.q

    def __repr__(self) -> str:
        short = "" if self.bases is None else f" compressed to {self.terms} terms"
        return f"{self.calls} calls{short}, {self.contraction}"


Cost = Callable[[Choice], float]


def kernel_flops(n1: int, n2: int) -> Cost:
    """Operations of a kernel between n1 and n2 samples, the projection on fewer terms included."""

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
    """Numbers that a product with the kernel reads for each sample: it is bound by memory."""
    return choice.numbers


def cheapest(choices: Sequence[Choice], cost: Cost, most_numbers: float) -> Choice:
    """The choice of least cost among those that fit, or else the smallest."""
    fitting = [choice for choice in choices if choice.numbers <= most_numbers]
    return min(fitting, key=cost) if fitting else min(choices, key=lambda choice: choice.numbers)
