"""Claims: a quantity, the range expected if the claim holds, and the verdict from stored runs.

A verdict depends on the runs alone, not on what the paper states.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import pandas as pd

from ntkode.report.formatting import short
from ntkode.report.statistics.intervals import Estimate

PAPER = "Gao, Sun, Liu, Gao, ICLR 2025 (arXiv 2509.22436)"


class Verdict(StrEnum):
    """The verdict on a claim: supported, not supported or inconclusive."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    INCONCLUSIVE = "inconclusive"


class Expectation(Protocol):
    """The set of values expected if a claim holds; `str` gives its text for tables."""

    def contains(self, low: float, high: float) -> bool:
        """Whether the set contains the whole interval [low, high]."""
        ...

    def excludes(self, low: float, high: float) -> bool:
        """Whether the whole interval [low, high] lies outside the set."""
        ...


@dataclass(frozen=True)
class Within:
    """The closed interval [least, most].

    Raises:
        ValueError: least ≥ most.
    """

    least: float
    most: float

    def __post_init__(self) -> None:
        if not self.least < self.most:
            raise ValueError(f"Within({self.least}, {self.most}) is empty: least must be less than most")

    def contains(self, low: float, high: float) -> bool:
        """Whether least ≤ low and high ≤ most."""
        return self.least <= low and high <= self.most

    def excludes(self, low: float, high: float) -> bool:
        """Whether high < least or most < low."""
        return high < self.least or self.most < low

    def __str__(self) -> str:
        return f"{short(self.least)} … {short(self.most)}"


@dataclass(frozen=True)
class Above:
    """The open half-line of values x > bound."""

    bound: float

    def contains(self, low: float, high: float) -> bool:
        """Whether the interval is above the bound: bound < low."""
        return self.bound < low

    def excludes(self, low: float, high: float) -> bool:
        """Whether the interval is at or below the bound: high ≤ bound."""
        return high <= self.bound

    def __str__(self) -> str:
        return f"> {short(self.bound)}"


@dataclass(frozen=True)
class Below:
    """The open half-line of values x < bound."""

    bound: float

    def contains(self, low: float, high: float) -> bool:
        """Whether the interval is below the bound: high < bound."""
        return high < self.bound

    def excludes(self, low: float, high: float) -> bool:
        """Whether the interval is at or above the bound: bound ≤ low."""
        return self.bound <= low

    def __str__(self) -> str:
        return f"< {short(self.bound)}"


@dataclass(frozen=True)
class Claim:
    """A statement about a quantity, with the range expected if the statement holds.

    Attributes:
        name: unique in its study; letters, digits and _.
        statement: the sentence to be tested.
        source: the origin of the statement: the paper and its theorem, or this suite.
        quantity: a description of the measured quantity, for tables.
        estimate: computes the quantity and its 95 % interval from runs (see `statistics.intervals`).
        expectation: the range of the quantity if the claim holds.
    """

    name: str
    statement: str
    source: str
    quantity: str
    estimate: Callable[[pd.DataFrame], Estimate]
    expectation: Expectation

    def judge(self, runs: pd.DataFrame) -> "Judgement":
        """The verdict from these runs (see `ntkode.results.load`).

        Supported if the whole interval lies inside the expected range, not supported if the whole interval
        lies outside, inconclusive if the interval crosses a bound or does not exist.
        """
        estimate = self.estimate(runs)
        if estimate.lacking:
            return Judgement(self, Verdict.INCONCLUSIVE, estimate, estimate.lacking)
        if self.expectation.contains(estimate.low, estimate.high):
            verdict, position = Verdict.SUPPORTED, "lies inside"
        elif self.expectation.excludes(estimate.low, estimate.high):
            verdict, position = Verdict.NOT_SUPPORTED, "lies outside"
        else:
            verdict, position = Verdict.INCONCLUSIVE, "crosses a bound of"
        reason = f"{estimate.basis} {position} the expected range"
        return Judgement(self, verdict, estimate, reason)


@dataclass(frozen=True)
class Judgement:
    """A claim, its verdict, the estimate behind the verdict, and the reason in words."""

    claim: Claim
    verdict: Verdict
    estimate: Estimate
    reason: str


@dataclass(frozen=True)
class Claims:
    """The claims of one study.

    Attributes:
        name: of the study, and of its files.
        claims: in the order of the tables.

    Raises:
        ValueError: two claims with the same name.
    """

    name: str
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        names = [claim.name for claim in self.claims]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            names_twice = ", ".join(sorted(twice))
            raise ValueError(f"{self.name}: two claims are named {names_twice}; claim names must be unique")

    def judge(self, runs: pd.DataFrame) -> list[Judgement]:
        """The verdict on each claim, in order."""
        return [claim.judge(runs) for claim in self.claims]
