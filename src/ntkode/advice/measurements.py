"""The data set that is asked about, and what is measured on it: predictions, kernels, costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ntkode.activations import Activation
from ntkode.advice.advice_data import AdviceData
from ntkode.advice.calibration import TIMED_STEPS, TrainingCost, measure_cost, measure_memory
from ntkode.advice.prediction import Candidate, Prediction, Problem, Refused, predict
from ntkode.advice.rules import Way, bearable, cheapest_way
from ntkode.advice.width import INITIALISATIONS, PROBE_WIDTH, KernelDistance, WidthNeed, kernel_distance
from ntkode.checks import positive
from ntkode.ntk import slow_dual
from ntkode.studies.base import Config, build
from ntkode.studies.preparation import build_model, read_data, seed_everything

Compose = Callable[[Sequence[str]], Config]
"""Overrides of conf/config.yaml ↦ the config composed of them, data set included."""

# The solve of the networks whose kernels are compared with the limit: their error is far below 1/√n.
PROBE_SOLVER = ("solver=rk4", "solver.steps=5")
TIMED = (f"steps={TIMED_STEPS}", "metrics=cheap", "logger=none")


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        activations: choices of conf/activation among which to advise.
        gammas: σ_w·T among which to advise.
        widths: the widths that are choices, ascending.
        rows: training samples that the theory is computed on, at most.
        distance: ‖Θ_n − Θ_∞⊗1‖/‖Θ_∞⊗1‖ that the width is to keep; by default what tanh and relu have at the
            default width, 256, on digits.
        budget: seconds that the training may take; None: the config's steps, however long.
        memory: MiB that a gradient may allocate; None: any.
    """

    activations: tuple[str, ...]
    gammas: tuple[float, ...]
    widths: tuple[int, ...]
    rows: int = 500
    distance: float = 0.3
    budget: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Option:
    """A candidate that can be advised.

    Attributes:
        prediction: what the theory says of it.
        need: the width that it needs.
        way: how to solve it.
    """

    prediction: Prediction
    need: WidthNeed
    way: Way

    @property
    def candidate(self) -> Candidate:
        """What it is."""
        return self.prediction.candidate


class Bench:
    """Measures on one data set.

    Args:
        request: what is asked.
        compose: makes configs; without overrides that of the data set as the user gave it.
        evidence: what stored runs say.

    Raises:
        DataError: the data cannot be had as asked.
        ValueError: a setting out of range.
    """

    def __init__(self, request: Request, compose: Compose, evidence: AdviceData) -> None:
        self.request, self.evidence = request, evidence
        self._compose = compose
        self.config = compose([])
        model = self.config["model"]
        self.horizon = positive("model.horizon", model["horizon"])
        self.bound, self.bound_told = bearable(evidence)
        seed_everything(self.config)
        self.data = read_data(compose(TIMED))
        self.problem = Problem.of(
            self.data.train,
            self.data.description["train_indices"],
            request.rows,
            apart=int(self.config["dataset"].get("window", 0)) + 1,  # windows, and the days that they predict
            sigma_u=positive("model.sigma_u", model["sigma_u"]),
            sigma_v=positive("model.sigma_v", model["sigma_v"]),
        )
        self._names = {name: self._activation(name) for name in request.activations}
        self._probes: dict[str, Config] = {}

    def _activation(self, name: str) -> Activation:
        phi: Activation = build(self._compose([f"activation={name}"])["activation"])
        if slow_dual(phi):
            raise ValueError(
                f"activations={name}: its infinite-width kernel takes minutes, for its kinks away from 0: "
                "leave it out"
            )
        return phi

    @property
    def candidates(self) -> list[Candidate]:
        """Those asked for."""
        return [Candidate(phi, gamma) for phi in self._names.values() for gamma in self.request.gammas]

    @cached_property
    def default(self) -> Candidate:
        """The config's own."""
        return Candidate(
            build(self.config["activation"]), float(self.config["model"]["sigma_w"]) * self.horizon
        )

    def option(self, candidate: Candidate, choices: Sequence[int]) -> Option | Refused:
        """What can be said of a candidate for these numbers of steps, or why it is not advised."""
        way = cheapest_way(self.evidence, candidate, self.bound)
        if way is None:
            return Refused(
                candidate, f"no measured solver keeps its gradient's error within {self.bound:.2g}"
            )
        prediction = predict(self.problem, candidate, choices)
        if isinstance(prediction, Refused):
            return prediction
        need = WidthNeed(self.kernel_distance(prediction, PROBE_WIDTH), self.request.distance)
        if need.width > self.request.widths[-1]:
            return Refused(candidate, f"horizon too long: near its limit from width {need.width} on")
        return Option(prediction, need, way)

    def kernel_distance(self, prediction: Prediction, width: int) -> KernelDistance:
        """Of networks of that width from the limit, on the first samples."""
        base = self._probe(self._name(prediction.candidate))
        scaled = {**base["model"], "width": width, "sigma_w": self._sigma_w(prediction.candidate)}
        models = []
        for seed in range(INITIALISATIONS):
            config = {**base, "seed": seed, "model": scaled}
            seed_everything(config)
            models.append(build_model(config, self.data, self.data.train.x.device))
        x = self.data.train.x[: len(prediction.limit)]
        return kernel_distance(models, width, x, prediction.limit)

    def _probe(self, name: str) -> Config:
        """Composed once an activation: that takes longer than to measure."""
        if name not in self._probes:
            self._probes[name] = self._compose([f"activation={name}", *PROBE_SOLVER])
        return self._probes[name]

    def distances(self, option: Option) -> list[KernelDistance]:
        """At the widths that the law asks for: from the narrowest to the first that keeps the distance.

        The law c/√n holds for wide networks; where a width it asks for is farther from the limit, the next
        wider one is measured. All of them where none keeps the distance.
        """
        choices = [w for w in self.request.widths if w >= option.need.width]
        measured: list[KernelDistance] = []
        for width in choices:
            measured.append(self.kernel_distance(option.prediction, width))
            if measured[-1].mean <= self.request.distance:
                break
        return measured

    def overrides(self, candidate: Candidate, way: Way, width: int) -> list[str]:
        """What makes the config the candidate's."""
        return [
            f"activation={self._name(candidate)}",
            f"model.sigma_w={self._sigma_w(candidate):g}",
            f"width=w{width}",
            f"solver={way.row.solver}",
            f"solver.steps={way.row.steps}",
            f"gradient={way.gradient}",
        ]

    def _name(self, candidate: Candidate) -> str:
        return next(name for name, phi in self._names.items() if phi == candidate.activation)

    def _sigma_w(self, candidate: Candidate) -> float:
        return candidate.gamma / self.horizon

    def cost(self, overrides: Sequence[str]) -> TrainingCost:
        """Of training by the overrides."""
        return measure_cost(self._compose([*overrides, *TIMED]), self.data)

    def memory(self, overrides: Sequence[str]) -> float:
        """Of a gradient by the overrides, MiB."""
        return measure_memory(self._compose(overrides), self.data)
