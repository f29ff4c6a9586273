"""Distance of a run from the infinite-width limit, and the loss curve that the limit predicts."""

from __future__ import annotations

import math

from ntkode.metrics.base import LossMetric, ProbeMetric, Values
from ntkode.metrics.loss_decay import rates_at
from ntkode.metrics.shared_kernel import shared_kernel
from ntkode.models import NeuralODE
from ntkode.ntk import network_limit, relative_distance, slow_dual
from ntkode.theory import LinearisedTraining
from ntkode.training import TrainingModule

# Relative error of the limit, far below the distance n^{-1/2} of any trained width.
TOLERANCE = 1e-6
# Largest σ_w·T: beyond it the hidden variance is so large that the limit of a smooth φ takes minutes.
MAX_SCALED_HORIZON = 4.0
# Largest number of Euler steps: beyond it the limit takes minutes.
MAX_EULER_STEPS = 200


def has_limit(module: TrainingModule) -> bool:
    """Whether the infinite-width limit of the run's network is known, and computed in seconds.

    Conditions: the model is a `NeuralODE` or `ResNet`; φ is continuous and has no kink away from 0 on a
    curved part; σ_w·T ≤ 4; no input is zero; the solver has a tableau (implicit_adams has none: it iterates
    to a tolerance) and takes at most 200 steps if it is Euler.
    """
    model = module.model
    return (
        isinstance(model, NeuralODE)
        and model.sigma_u > 0
        and model.sigma_w * model.horizon <= MAX_SCALED_HORIZON
        and model.solver.method != "implicit_adams"
        and not (model.solver.method == "euler" and (model.solver.steps or 0) > MAX_EULER_STEPS)
        and model.activation.profile.smoothness >= 0
        and not slow_dual(model.activation)
        and bool((module.data.train.x != 0).any(dim=1).all())
    )


class LimitDistance(ProbeMetric):
    """`ntk/limit_distance` = ‖Θ_k − Θ_∞‖_F / ‖Θ_∞‖_F on the probe, Θ_k the trace kernel.

    Θ_∞ is the limit of the network discretised by the run's solver (see `network_limit`). The distance at θ₀
    is therefore due to the width alone, and falls as n^{-1/2}.
    """

    collective = True

    def applies(self, module: TrainingModule) -> bool:
        """Whether the limit is known; see `has_limit`."""
        return has_limit(module)

    def names(self, module: TrainingModule) -> set[str]:
        """The only logged name, `ntk/limit_distance`."""
        return {"ntk/limit_distance"}

    def prepare(self, module: TrainingModule) -> None:
        """Store Θ_∞ on the probe, (N, N), float64."""
        assert isinstance(module.model, NeuralODE)
        x = module.probe(self.probe_size).x
        self._limit = network_limit(module.model, x, tolerance=TOLERANCE).ntk

    def measure(self, module: TrainingModule) -> Values:
        """Compute the kernel Θ_k on the probe and its distance from Θ_∞."""
        x = module.probe(self.probe_size).x
        kernel = shared_kernel(module.model, x).kernel
        return {"ntk/limit_distance": relative_distance(kernel, self._limit)}


class LimitPrediction(LossMetric):
    """The loss curve that gradient descent under Θ_∞ follows.

    `loss/predicted_ratio_limit` = P_k/L_0; `loss/predicted_rate_limit`: `loss/decay_rate` of P_k. Θ_∞ is the
    limit of the network discretised by the run's solver, on the whole training set.

    Args:
        max_rows: largest N at which the metric applies (it forms the N×N matrix Θ_∞).
    """

    def __init__(self, max_rows: int = 4096) -> None:
        super().__init__(every=1)
        self.max_rows = max_rows

    def applies(self, module: TrainingModule) -> bool:
        """Whether the run is gradient descent on the squared error with a known limit and N ≤ `max_rows`."""
        return module.descends_gradient and has_limit(module) and len(module.data.train.x) <= self.max_rows

    def names(self, module: TrainingModule) -> set[str]:
        """The two logged names, `loss/predicted_ratio_limit` and `loss/predicted_rate_limit`."""
        return {"loss/predicted_ratio_limit", "loss/predicted_rate_limit"}

    def prepare(self, module: TrainingModule) -> None:
        """Store P_k for all steps; Θ_∞ is the same for every output."""
        assert isinstance(module.model, NeuralODE)
        train = module.split("train")
        residual = module.loss.residual(module.output("train"), train.y)
        kernel = network_limit(module.model, train.x, tolerance=TOLERANCE).ntk
        training = LinearisedTraining(kernel, residual)
        self._curve = training.losses(module.learning_rate, module.data.steps)

    def measure(self, module: TrainingModule) -> Values:
        """P_k/L_0 at the current step, and the decay rate of P_k at the end of a window."""
        step = len(module.losses) - 1
        rates = rates_at(step, module.data.steps, self._curve, "loss/predicted_rate_limit")
        return {"loss/predicted_ratio_limit": self._curve[step] / (module.losses[0] or math.nan)} | rates
