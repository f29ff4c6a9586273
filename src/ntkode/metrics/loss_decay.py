"""How fast the loss falls, and how fast the kernel at initialisation says that it should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning as L

from ntkode.metrics.base import LossMetric, Metric, Values
from ntkode.theory import contraction_rate, decay_rate, predicted_losses, windows
from ntkode.training import TrainingModule


def rates_at(step: int, steps: int, curve: Sequence[float], name: str) -> Values:
    """The decay rate of a curve over the window that ends at `step`, if one does."""
    for first, last in windows(steps):
        if last == step:
            rate = decay_rate(curve, first, last)
            return {f"{name}/{first}-{last}": rate, name: rate}
    return {}


class DecayRate(LossMetric):
    """`loss/decay_rate/<a>-<b>`: −slope of log L over steps a … b, at the end of each window.

    `loss/decay_rate` is that of the newest window.
    """

    def __init__(self) -> None:
        super().__init__(every=1)

    def names(self, module: TrainingModule) -> set[str]:
        """The newest, in any run of one step or more."""
        return {"loss/decay_rate"}

    def measure(self, module: TrainingModule) -> Values:
        """A fit, where a window ends."""
        step = len(module.losses) - 1
        return rates_at(step, module.data.steps, module.losses, "loss/decay_rate")


class LossPrediction(LossMetric):
    """The loss curve P_k that gradient descent linearised at θ₀ follows, beside the one that is trained.

    `loss/predicted_ratio` = P_k/L_0; `loss/predicted_rate` as `loss/decay_rate`, on P_k;
    `loss/rate_ratio` = measured/predicted; `loss/prediction_gap` = sup_k |L_k − P_k|/L_0 so far.
    """

    def __init__(self) -> None:
        super().__init__(every=1)

    def applies(self, module: TrainingModule) -> bool:
        """Plain gradient descent on the squared error."""
        return module.descends_gradient

    def names(self, module: TrainingModule) -> set[str]:
        """All of them."""
        measured = ("predicted_ratio", "predicted_rate", "rate_ratio", "prediction_gap")
        return {f"loss/{name}" for name in measured}

    def prepare(self, module: TrainingModule) -> None:
        """P_k for all steps, from the kernel's spectral measure at θ₀."""
        residual = module.loss.residual(module.output("train"), module.split("train").y)
        self._curve = predicted_losses(
            module.initial_measure,
            0.5 * float(residual.double().square().sum()),
            module.learning_rate,
            module.data.steps,
        )
        self._gap = 0.0

    def measure(self, module: TrainingModule) -> Values:
        """The curve's value, and a fit where a window ends."""
        step, first = len(module.losses) - 1, module.losses[0] or math.nan
        self._gap = max(self._gap, abs(module.losses[step] - self._curve[step]) / first)
        rates = rates_at(step, module.data.steps, self._curve, "loss/predicted_rate")
        if rates:
            measured = rates_at(step, module.data.steps, module.losses, "loss/decay_rate")
            predicted = rates["loss/predicted_rate"] or math.nan
            rates["loss/rate_ratio"] = measured["loss/decay_rate"] / predicted
        return {"loss/predicted_ratio": self._curve[step] / first, "loss/prediction_gap": self._gap} | rates


class LocalRate(Metric):
    """`loss/local_rate` = −2 log(1 − ηρ_k) with ρ_k = ‖∇L‖²/(2L).

    ρ_k is the Rayleigh quotient of the present kernel at the residual. It costs nothing: the gradient is
    at hand in every step.
    """

    def applies(self, module: TrainingModule) -> bool:
        """Plain gradient descent on the squared error."""
        return module.descends_gradient

    def names(self, module: TrainingModule) -> set[str]:
        """The one."""
        return {"loss/local_rate"}

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Nothing: the gradient is not known yet."""

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
        """Measure between the backward pass and the step."""
        if self._due(pl_module.step):
            self._record(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Nothing: there is no gradient after the last step."""

    def measure(self, module: TrainingModule) -> Values:
        """From the gradient of the step that is about to be taken."""
        gradients = (p.grad for p in module.model.parameters() if p.grad is not None)
        squared = sum(float(g.double().square().sum()) for g in gradients)
        loss = module.losses[-1]
        rate = contraction_rate(module.learning_rate, squared / (2 * loss)) if loss > 0 else math.nan
        return {"loss/local_rate": rate}
