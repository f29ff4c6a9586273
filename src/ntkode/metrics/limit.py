"""How far a run is from the infinite-width limit, and what that limit predicts for it."""

from __future__ import annotations

import math

from ntkode.metrics.base import LossMetric, ProbeMetric, Values
from ntkode.metrics.loss_decay import rates_at
from ntkode.metrics.shared_kernel import shared_kernel
from ntkode.models import NeuralODE
from ntkode.ntk import network_limit, relative_distance, slow_dual
from ntkode.theory import LinearisedTraining
from ntkode.training import TrainingModule

# The limit's own error: far below the distance n^{-1/2} of any width that is trained.
TOLERANCE = 1e-6
# σ_w·T beyond which the hidden variance is so large that the limit of a smooth φ takes minutes.
LONGEST = 4.0
# Layers beyond which the limit of a network solved by Euler takes minutes.
DEEPEST = 200


def has_limit(module: TrainingModule) -> bool:
    """Whether the infinite-width limit of the run's network is known, and computed in seconds.

    It is for `NeuralODE` and `ResNet` with φ that is continuous and has no kink away from 0 on a curved
    part, σ_w·T ≤ 4, inputs that are not zero, and a solver with a tableau (implicit_adams iterates to a
    tolerance instead) that is not Euler with more than 200 steps.
    """
    model = module.model
    return (
        isinstance(model, NeuralODE)
        and model.sigma_u > 0
        and model.sigma_w * model.horizon <= LONGEST
        and model.solver.method != "implicit_adams"
        and not (model.solver.method == "euler" and (model.solver.steps or 0) > DEEPEST)
        and model.activation.profile.smoothness >= 0
        and not slow_dual(model.activation)
        and bool((module.data.train.x != 0).any(dim=1).all())
    )


class LimitDistance(ProbeMetric):
    """`ntk/limit_distance` = ‖Θ_k − Θ_∞‖_F / ‖Θ_∞‖_F on the probe, Θ_k the trace kernel.

    Θ_∞ is the limit of the network that the run's own solver makes (see `network_limit`), so that the
    distance at θ₀ is due to the width alone and falls as n^{-1/2}.
    """

    collective = True

    def applies(self, module: TrainingModule) -> bool:
        """Models whose limit is known."""
        return has_limit(module)

    def names(self, module: TrainingModule) -> set[str]:
        """The one."""
        return {"ntk/limit_distance"}

    def prepare(self, module: TrainingModule) -> None:
        """The limit on the probe."""
        assert isinstance(module.model, NeuralODE)
        x = module.probe(self.probe_size).x
        self._limit = network_limit(module.model, x, tolerance=TOLERANCE).ntk

    def measure(self, module: TrainingModule) -> Values:
        """One kernel."""
        x = module.probe(self.probe_size).x
        kernel = shared_kernel(module.model, x).kernel
        return {"ntk/limit_distance": relative_distance(kernel, self._limit)}


class LimitPrediction(LossMetric):
    """The loss curve that gradient descent under Θ_∞ follows.

    `loss/predicted_ratio_limit` = P_k/L_0, and `loss/predicted_rate_limit` as `loss/decay_rate` on P_k, with
    the limit of the network that the run's own solver makes on the whole training set.

    Args:
        max_rows: the largest N for which Θ_∞ is formed; above it the metric does not apply.
    """

    def __init__(self, max_rows: int = 4096) -> None:
        super().__init__(every=1)
        self.max_rows = max_rows

    def applies(self, module: TrainingModule) -> bool:
        """Plain gradient descent on the squared error, a model whose limit is known, a set that fits."""
        return module.descends_gradient and has_limit(module) and len(module.data.train.x) <= self.max_rows

    def names(self, module: TrainingModule) -> set[str]:
        """Both."""
        return {"loss/predicted_ratio_limit", "loss/predicted_rate_limit"}

    def prepare(self, module: TrainingModule) -> None:
        """P_k for all steps; Θ_∞ acts on every output alike."""
        assert isinstance(module.model, NeuralODE)
        train = module.split("train")
        residual = module.loss.residual(module.output("train"), train.y)
        kernel = network_limit(module.model, train.x, tolerance=TOLERANCE).ntk
        training = LinearisedTraining(kernel, residual)
        self._curve = training.losses(module.learning_rate, module.data.steps)

    def measure(self, module: TrainingModule) -> Values:
        """The curve's value, and a fit where a window ends."""
        step = len(module.losses) - 1
        rates = rates_at(step, module.data.steps, self._curve, "loss/predicted_rate_limit")
        return {"loss/predicted_ratio_limit": self._curve[step] / (module.losses[0] or math.nan)} | rates
