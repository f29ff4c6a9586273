"""Predictions of infinite-width theory for an activation and a horizon on given training data.

Under Θ_∞ gradient descent multiplies the residual by 1 − ηΘ_∞ in every step (`ntkode.theory`). Each training
sample is predicted from the folds that do not contain it; the test split is not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.model_selection import KFold, StratifiedKFold
from torch import Tensor

from ntkode.activations import Activation
from ntkode.advice.width import PROBE_ROWS
from ntkode.checks import count
from ntkode.data import Split
from ntkode.ntk import BlowUpError, NonFiniteKernelError, Spectrum, infinite_width_kernels, spectrum
from ntkode.theory import LinearisedTraining

FOLDS = 5
# Tolerance of the kernel's entries, far below the distance n^(-1/2) of any trained width. A smaller one takes
# minutes on inputs with many different norms, because their pairs cannot be interpolated.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Candidate:
    """An activation at a horizon; only γ = σ_w·T matters in the limit.

    Attributes:
        activation: φ.
        gamma: σ_w·T.
    """

    activation: Activation
    gamma: float

    def __str__(self) -> str:
        return f"{self.activation.name} at σ_w·T = {self.gamma:g}"


@dataclass(frozen=True)
class Prediction:
    """Result of training under Θ_∞ with η = 1/λ_max, by number of steps.

    Attributes:
        candidate: the activation and σ_w·T.
        errors: by steps, the error on each held-out sample, shape (N,): 1 for a wrong class, else 0; in
            regression ½‖f − y‖².
        losses: by steps, the mean held-out ½‖f − y‖² per sample.
        ratios: by steps, L_K/L_0 of training on all N samples.
        spectrum: spectrum of Θ_∞ on all N samples.
        limit: Θ_∞ on the first `PROBE_ROWS` samples at most.
    """

    candidate: Candidate
    errors: dict[int, Tensor]
    losses: dict[int, float]
    ratios: dict[int, float]
    spectrum: Spectrum
    limit: Tensor

    def error(self, steps: int) -> float:
        """The mean held-out error after `steps` steps."""
        return float(self.errors[steps].mean())


@dataclass(frozen=True)
class Refused:
    """A candidate that is not advised, with the reason."""

    candidate: Candidate
    reason: str


@dataclass(frozen=True)
class Problem:
    """Training samples and their folds.

    Attributes:
        x: inputs, (N, d).
        y: targets, (N, k).
        labels: classes, (N,); None for regression.
        folds: by fold, the held-out indices and the training indices.
        sigma_u: σ_u.
        sigma_v: σ_v, which scales kernel and learning rate but leaves predictions unchanged.
    """

    x: Tensor
    y: Tensor
    labels: Tensor | None
    folds: tuple[tuple[np.ndarray, np.ndarray], ...]
    sigma_u: float = 1.0
    sigma_v: float = 1.0

    @classmethod
    def of(
        cls,
        train: Split,
        rows: Sequence[int],
        most: int,
        *,
        apart: int = 1,
        sigma_u: float = 1.0,
        sigma_v: float = 1.0,
    ) -> Problem:
        """The first `most` samples of a training split, which are as balanced as the whole split, in folds.

        Folds are stratified by class. Without classes a fold is a block of consecutive source rows, and rows
        close to it are excluded from its training set, because neighbours in a time series overlap.

        Args:
            train: the training split.
            rows: each sample's row in its source.
            most: maximum number of samples.
            apart: source rows closer than this share data (used without classes).
            sigma_u: σ_u.
            sigma_v: σ_v.

        Raises:
            ValueError: too few samples for two folds.
        """
        n = min(len(train), count("rows", most))
        if n < 2 * FOLDS:
            given = f"n_train={n}" if n == len(train) else f"rows={n}"
            raise ValueError(f"{given} is too few for cross-validation: advice needs at least {2 * FOLDS}")
        if train.labels is None:
            folds = _runs_of_rows(np.asarray(rows[:n]), apart)
        else:
            labels = train.labels[:n].numpy()
            fewest = int(np.bincount(labels)[np.unique(labels)].min())
            kind = StratifiedKFold if fewest >= FOLDS else KFold
            splitter = kind(FOLDS, shuffle=True, random_state=0)
            folds = [(held, kept) for kept, held in splitter.split(labels, labels)]
        if not all(len(kept) for _, kept in folds):
            raise ValueError(f"all {n} samples overlap, so none can be held out: try n_train={10 * n}")
        labels_used = None if train.labels is None else train.labels[:n]
        return cls(train.x[:n].double(), train.y[:n].double(), labels_used, tuple(folds), sigma_u, sigma_v)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def measure(self) -> str:
        """Name of the quantity in `Prediction.error`: held-out loss or held-out error rate."""
        return "held-out loss" if self.labels is None else "held-out error rate"


def _runs_of_rows(rows: np.ndarray, apart: int) -> list[tuple[np.ndarray, np.ndarray]]:
    order = np.argsort(rows, kind="stable")
    folds = []
    for _, place in KFold(FOLDS).split(order):
        held = order[place]
        first, last = rows[held].min(), rows[held].max()
        folds.append((held, np.flatnonzero((rows <= first - apart) | (rows >= last + apart))))
    return folds


def predict(problem: Problem, candidate: Candidate, steps: Sequence[int]) -> Prediction | Refused:
    """Cross-validated training under Θ_∞ for each number of steps, with η = 1/λ_max computed per fold."""
    try:
        limit = infinite_width_kernels(
            problem.x,
            activation=candidate.activation,
            horizon=candidate.gamma,
            sigma_u=problem.sigma_u,
            sigma_v=problem.sigma_v,
            tolerance=TOLERANCE,
        )
    except BlowUpError:
        return Refused(candidate, "the infinite-width limit blows up before the horizon")
    except NonFiniteKernelError as error:
        return Refused(candidate, str(error))
    kernel = limit.ntk
    whole = LinearisedTraining(kernel, problem.y)
    if not whole.lambda_max > 0:
        return Refused(candidate, "the kernel is zero")
    rate = 1 / whole.lambda_max
    outputs = {k: torch.empty_like(problem.y) for k in steps}
    for held, kept in problem.folds:
        training = LinearisedTraining(kernel[np.ix_(kept, kept)], problem.y[kept])
        for k in steps:
            residual = training.after_steps(1 / training.lambda_max, k)
            outputs[k][held] = training.learned(kernel[np.ix_(held, kept)], residual)
    losses = {k: 0.5 * (f - problem.y).square().sum(1) for k, f in outputs.items()}
    curve = whole.losses(rate, max(steps))
    return Prediction(
        candidate,
        errors=losses
        if problem.labels is None
        else {k: _wrong(f, problem.labels) for k, f in outputs.items()},
        losses={k: float(loss.mean()) for k, loss in losses.items()},
        ratios={k: curve[k] / curve[0] if curve[0] > 0 else math.nan for k in steps},
        spectrum=_spectrum(kernel, limit.error),
        limit=kernel[:PROBE_ROWS, :PROBE_ROWS].clone(),
    )


def _spectrum(kernel: Tensor, error: float) -> Spectrum:
    """The spectrum, with its resolution increased by N times the error of the kernel's entries."""
    exact = spectrum(kernel)
    floor = exact.resolution + len(kernel) * error * max(1.0, float(kernel.abs().max()))
    return replace(exact, resolution=floor, condition_number=exact.lambda_max / max(exact.lambda_min, floor))


def _wrong(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs.argmax(1) != labels).double()


@dataclass(frozen=True)
class Ranked:
    """A prediction compared with the least error of all predictions.

    Attributes:
        prediction: the prediction.
        steps: number of training steps.
        excess: its mean error minus the least mean error.
        noise: standard error of that difference.
    """

    prediction: Prediction
    steps: int
    excess: float
    noise: float

    @property
    def tied(self) -> bool:
        """Whether the excess is at most one standard error.

        If a single sample differs, excess and noise are equal; the factor keeps rounding from deciding.
        """
        return self.excess <= self.noise * (1 + 1e-9)


def rank(
    problem: Problem,
    predictions: Sequence[Prediction],
    steps: int,
    choices: Sequence[int],
    width: Callable[[Candidate], int],
) -> list[Ranked]:
    """Predictions after `steps`, in order of preference.

    Predictions tied with the least error over all predictions and all `choices` of steps come first, ordered
    by smoothness of φ (smoother gives more accurate gradients for the same work), then by width (narrower is
    cheaper), then by held-out loss. The others follow, by error. This is the one-standard-error rule
    (Breiman et al. 1984, section 3.4.3) with the standard error of the paired difference in place of that of
    the least error.

    Args:
        problem: the samples.
        predictions: the predictions, at least one.
        steps: number of steps, one of `choices`.
        choices: all predicted numbers of steps.
        width: maps a candidate to the width that it needs.
    """
    best, at = _least(predictions, choices)
    ranked = [
        Ranked(p, steps, p.error(steps) - best.error(at), paired_noise(problem, p, steps, best, at))
        for p in predictions
    ]

    def place(r: Ranked) -> tuple[float, ...]:
        smoothness = r.prediction.candidate.activation.profile.smoothness
        if not r.tied:
            return (1, r.excess, 0, 0)
        return (0, -smoothness, width(r.prediction.candidate), r.prediction.losses[steps])

    return sorted(ranked, key=place)


def _least(predictions: Sequence[Prediction], choices: Sequence[int]) -> tuple[Prediction, int]:
    pairs = ((p, k) for k in sorted(choices) for p in predictions)
    return min(pairs, key=lambda pair: (pair[0].error(pair[1]), pair[0].losses[pair[1]]))


def paired_noise(problem: Problem, one: Prediction, steps: int, other: Prediction, other_steps: int) -> float:
    """Standard error of the difference of two mean errors on the same held-out samples.

    The larger of two estimates: one from the N samples, one from the fold means. The fold means also vary
    with the training samples and do not assume that neighbours in a series are independent. Neither estimate
    is unbiased, because the training sets of folds overlap (Bengio & Grandvalet 2004).
    """
    difference = (one.errors[steps] - other.errors[other_steps]).numpy()
    means = [difference[held].mean() for held, _ in problem.folds]
    by_sample = difference.std(ddof=1) / math.sqrt(len(difference))
    return float(max(by_sample, np.std(means, ddof=1) / math.sqrt(len(means))))


def fewest_steps(problem: Problem, predictions: Sequence[Prediction], choices: Sequence[int]) -> int:
    """The fewest steps after which a candidate is tied with the least error of all."""
    return next(
        k for k in sorted(choices) if any(r.tied for r in rank(problem, predictions, k, choices, lambda _: 0))
    )
