"""Measurements on the requested data set: predictions, kernel distances, costs and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ntkode.activations import Activation
from ntkode.advice.advice_data import AdviceData
from ntkode.advice.calibration import TIMED_STEPS, TrainingCost, measure_cost, measure_memory
from ntkode.advice.prediction import Candidate, Prediction, Problem, Refused, predict
from ntkode.advice.rules import SolveSettings, bearable, cheapest_solve
from ntkode.advice.width import INITIALISATIONS, PROBE_WIDTH, KernelDistance, WidthNeed, kernel_distance
from ntkode.checks import positive
from ntkode.ntk import slow_dual
from ntkode.studies.base import Config, build
from ntkode.studies.preparation import build_model, read_data, seed_everything

Compose = Callable[[Sequence[str]], Config]
"""Maps overrides of conf/config.yaml to the composed config, including the user's data set."""

# Solver of the networks whose kernels are compared with the limit; its error is far below 1/√n.
PROBE_SOLVER = ("solver=rk4", "solver.steps=5")
TIMED = (f"steps={TIMED_STEPS}", "metrics=cheap", "logger=none")


@dataclass(frozen=True)
class Request:
    """The user's request.

    Attributes:
        activations: candidate choices of conf/activation.
        gammas: candidate values of σ_w·T.
        widths: candidate widths, ascending.
        rows: maximum number of training samples used by the theory.
        distance: upper bound on ‖Θ_n − Θ_∞⊗1‖/‖Θ_∞⊗1‖, which determines the width; the default is the
            distance of tanh and relu at the default width, 256, on digits.
        budget: maximum seconds of training; None: the config's number of steps, without a time limit.
        memory: maximum MiB that a gradient may allocate; None: no limit.
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
        prediction: the prediction of the theory.
        need: the width that it needs.
        solve: solver, steps and gradient method.
    """

    prediction: Prediction
    need: WidthNeed
    solve: SolveSettings

    @property
    def candidate(self) -> Candidate:
        """The candidate: activation and σ_w·T."""
        return self.prediction.candidate


class Measurements:
    """Predictions, kernel distances, costs and memory on one data set.

    Args:
        request: the user's request.
        compose: composes a config from overrides; without overrides, the user's config.
        evidence: the evidence from stored runs.

    Raises:
        DataError: the data cannot be read as configured.
        ValueError: a setting is out of range.
    """

    def __init__(self, request: Request, compose: Compose, evidence: AdviceData) -> None:
        self.request, self.evidence = request, evidence
        self._compose = compose
        self.config = compose([])
        model = self.config["model"]
        self.horizon = positive("model.horizon", model["horizon"])
        self.bound, self.bound_source = bearable(evidence)
        seed_everything(self.config)
        self.data = read_data(compose(TIMED))
        self.problem = Problem.of(
            self.data.train,
            self.data.description["train_indices"],
            request.rows,
            apart=int(self.config["dataset"].get("window", 0)) + 1,  # window and predicted day
            sigma_u=positive("model.sigma_u", model["sigma_u"]),
            sigma_v=positive("model.sigma_v", model["sigma_v"]),
        )
        self._names = {name: self._activation(name) for name in request.activations}
        self._probes: dict[str, Config] = {}

    def _activation(self, name: str) -> Activation:
        phi: Activation = build(self._compose([f"activation={name}"])["activation"])
        if slow_dual(phi):
            raise ValueError(
                f"activations={name}: its infinite-width kernel takes minutes because φ has kinks away from "
                "0: leave it out"
            )
        return phi

    @property
    def candidates(self) -> list[Candidate]:
        """The requested candidates: every activation at every σ_w·T."""
        return [Candidate(phi, gamma) for phi in self._names.values() for gamma in self.request.gammas]

    @cached_property
    def default(self) -> Candidate:
        """The candidate of the unchanged config."""
        return Candidate(
            build(self.config["activation"]), float(self.config["model"]["sigma_w"]) * self.horizon
        )

    def option(self, candidate: Candidate, choices: Sequence[int]) -> Option | Refused:
        """The candidate with its prediction, width and solve for these numbers of steps, or why not."""
        solve = cheapest_solve(self.evidence, candidate, self.bound)
        if solve is None:
            return Refused(candidate, f"no measured solver has a gradient error of at most {self.bound:.2g}")
        prediction = predict(self.problem, candidate, choices)
        if isinstance(prediction, Refused):
            return prediction
        need = WidthNeed(self.kernel_distance(prediction, PROBE_WIDTH), self.request.distance)
        if need.width > self.request.widths[-1]:
            return Refused(candidate, f"horizon too long: it would need width {need.width}")
        return Option(prediction, need, solve)

    def kernel_distance(self, prediction: Prediction, width: int) -> KernelDistance:
        """Distance of the kernels of networks of width `width` from the limit, on the first samples."""
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
        """The config of an activation, cached: composing takes longer than measuring."""
        if name not in self._probes:
            self._probes[name] = self._compose([f"activation={name}", *PROBE_SOLVER])
        return self._probes[name]

    def distances(self, option: Option) -> list[KernelDistance]:
        """Measured distances from the width that the law c/√n gives up to the first width within the bound.

        The law holds for wide networks. If its width is still too far from the limit, the next wider one is
        measured. All wider ones are returned if none is within the bound.
        """
        choices = [w for w in self.request.widths if w >= option.need.width]
        measured: list[KernelDistance] = []
        for width in choices:
            measured.append(self.kernel_distance(option.prediction, width))
            if measured[-1].mean <= self.request.distance:
                break
        return measured

    def overrides(self, candidate: Candidate, solve: SolveSettings, width: int) -> list[str]:
        """The overrides that set the candidate, solve and width."""
        return [
            f"activation={self._name(candidate)}",
            f"model.sigma_w={self._sigma_w(candidate):g}",
            f"width=w{width}",
            f"solver={solve.row.solver}",
            f"solver.steps={solve.row.steps}",
            f"gradient={solve.gradient}",
        ]

    def _name(self, candidate: Candidate) -> str:
        return next(name for name, phi in self._names.items() if phi == candidate.activation)

    def _sigma_w(self, candidate: Candidate) -> float:
        return candidate.gamma / self.horizon

    def cost(self, overrides: Sequence[str]) -> TrainingCost:
        """Cost of training with the overrides."""
        return measure_cost(self._compose([*overrides, *TIMED]), self.data)

    def memory(self, overrides: Sequence[str]) -> float:
        """Peak memory of a gradient with the overrides, in MiB."""
        return measure_memory(self._compose(overrides), self.data)
