"""Claims as objects: a quantity, what is expected of it, and the verdict that stored runs allow.

A verdict comes from the runs alone. Nothing here knows which verdict the paper would like.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import pandas as pd

from ntkode.report.formatting import shown
from ntkode.report.statistics.intervals import Estimate

PAPER = "Gao, Sun, Liu, Gao, ICLR 2025 (arXiv 2509.22436)"


class Verdict(StrEnum):
    """What the runs say to a claim."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    INCONCLUSIVE = "inconclusive"


class Expectation(Protocol):
    """A set of values that a claim says the quantity lies in; `str` of it is for tables."""

    def contains(self, low: float, high: float) -> bool:
        """Whether the whole interval lies in it."""
        ...

    def excludes(self, low: float, high: float) -> bool:
        """Whether the whole interval lies outside it."""
        ...


@dataclass(frozen=True)
class Within:
    """From `least` to `most`.

    Raises:
        ValueError: an empty set.
    """

    least: float
    most: float

    def __post_init__(self) -> None:
        if not self.least < self.most:
            raise ValueError(f"there is nothing within {self.least} and {self.most}")

    def contains(self, low: float, high: float) -> bool:
        """least ≤ low, high ≤ most."""
        return self.least <= low and high <= self.most

    def excludes(self, low: float, high: float) -> bool:
        """high < least or most < low."""
        return high < self.least or self.most < low

    def __str__(self) -> str:
        return f"{shown(self.least)} … {shown(self.most)}"


@dataclass(frozen=True)
class Above:
    """More than `bound`."""

    bound: float

    def contains(self, low: float, high: float) -> bool:
        """bound < low."""
        return self.bound < low

    def excludes(self, low: float, high: float) -> bool:
        """high ≤ bound."""
        return high <= self.bound

    def __str__(self) -> str:
        return f"> {shown(self.bound)}"


@dataclass(frozen=True)
class Below:
    """Less than `bound`."""

    bound: float

    def contains(self, low: float, high: float) -> bool:
        """high < bound."""
        return high < self.bound

    def excludes(self, low: float, high: float) -> bool:
        """bound ≤ low."""
        return self.bound <= low

    def __str__(self) -> str:
        return f"< {shown(self.bound)}"


@dataclass(frozen=True)
class Claim:
    """A sentence about a quantity that runs can bear out or refute.

    Attributes:
        name: short, unique in its study; letters, digits and _.
        statement: the sentence.
        source: who says so: the paper and its theorem, or what the suite adds.
        quantity: what is measured, for tables.
        evidence: the quantity's value and 95 % interval from the runs (see `statistics.intervals`).
        expectation: where the quantity lies if the claim is true.
    """

    name: str
    statement: str
    source: str
    quantity: str
    evidence: Callable[[pd.DataFrame], Estimate]
    expectation: Expectation

    def judge(self, runs: pd.DataFrame) -> "Judgement":
        """The verdict that the runs (of `ntkode.results.load`) allow.

        Supported where the interval lies wholly within the expectation, not supported where it lies wholly
        outside, inconclusive where it straddles the bound or where there is no interval.
        """
        found = self.evidence(runs)
        if found.lacking:
            return Judgement(self, Verdict.INCONCLUSIVE, found, found.lacking)
        if self.expectation.contains(found.low, found.high):
            verdict, where = Verdict.SUPPORTED, "within"
        elif self.expectation.excludes(found.low, found.high):
            verdict, where = Verdict.NOT_SUPPORTED, "outside"
        else:
            verdict, where = Verdict.INCONCLUSIVE, "across the bound of"
        reason = f"{found.basis} lies {where} what is expected"
        return Judgement(self, verdict, found, reason)


@dataclass(frozen=True)
class Judgement:
    """A claim, its verdict, and the numbers that it rests on."""

    claim: Claim
    verdict: Verdict
    evidence: Estimate
    reason: str


@dataclass(frozen=True)
class Claims:
    """The claims of one study.

    Attributes:
        name: of the study, and of its files.
        claims: in the order in which they are told.

    Raises:
        ValueError: two claims of one name.
    """

    name: str
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        names = [claim.name for claim in self.claims]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"{self.name}: claims need names of their own, {', '.join(twice)} has two")

    def judge(self, runs: pd.DataFrame) -> list[Judgement]:
        """The verdict on each."""
        return [claim.judge(runs) for claim in self.claims]
