"""Decay rate of the loss, and the rate predicted by the kernel at initialisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning as L

from ntkode.metrics.base import LossMetric, Metric, Values
from ntkode.theory import contraction_rate, decay_rate, predicted_losses, windows
from ntkode.training import TrainingModule


def rates_at(step: int, steps: int, curve: Sequence[float], name: str) -> Values:
    """Decay rate of a loss curve over the window that ends at `step`; empty if none ends there."""
    for first, last in windows(steps):
        if last == step:
            rate = decay_rate(curve, first, last)
            return {f"{name}/{first}-{last}": rate, name: rate}
    return {}


class DecayRate(LossMetric):
    """`loss/decay_rate/<a>-<b>`: −slope of log L per step over steps a, …, b, at the end of each window.

    `loss/decay_rate` is the value of the newest window.
    """

    def __init__(self) -> None:
        super().__init__(every=1)

    def names(self, module: TrainingModule) -> set[str]:
        """The only logged name, `loss/decay_rate`."""
        return {"loss/decay_rate"}

    def measure(self, module: TrainingModule) -> Values:
        """Fit the decay rate if a window ends at the current step."""
        step = len(module.losses) - 1
        return rates_at(step, module.data.steps, module.losses, "loss/decay_rate")


class LossPrediction(LossMetric):
    """Comparison of L_k with the loss curve P_k of gradient descent on the model linearised at θ₀.

    `loss/predicted_ratio` = P_k/L_0; `loss/predicted_rate`: `loss/decay_rate` of P_k;
    `loss/rate_ratio` = measured/predicted; `loss/prediction_gap` = sup_k |L_k − P_k|/L_0 so far.
    """

    def __init__(self) -> None:
        super().__init__(every=1)

    def applies(self, module: TrainingModule) -> bool:
        """Whether the run is plain gradient descent on the squared error."""
        return module.descends_gradient

    def names(self, module: TrainingModule) -> set[str]:
        """The two predictions, the ratio of rates and the gap."""
        measured = ("predicted_ratio", "predicted_rate", "rate_ratio", "prediction_gap")
        return {f"loss/{name}" for name in measured}

    def prepare(self, module: TrainingModule) -> None:
        """Store P_k for all steps, from the kernel's spectral measure at θ₀."""
        residual = module.loss.residual(module.output("train"), module.split("train").y)
        self._curve = predicted_losses(
            module.initial_measure,
            0.5 * float(residual.double().square().sum()),
            module.learning_rate,
            module.data.steps,
        )
        self._gap = 0.0

    def measure(self, module: TrainingModule) -> Values:
        """P_k/L_0 and the gap so far; the predicted rate and the ratio of rates at the end of a window."""
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

    ρ_k is the Rayleigh quotient of the current kernel at the residual. It uses the gradient that the step
    computes anyway, so it costs nothing.
    """

    def applies(self, module: TrainingModule) -> bool:
        """Whether the run is plain gradient descent on the squared error."""
        return module.descends_gradient

    def names(self, module: TrainingModule) -> set[str]:
        """The only logged name, `loss/local_rate`."""
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
        """The rate from the gradient of the coming step; NaN at zero loss."""
        gradients = (p.grad for p in module.model.parameters() if p.grad is not None)
        squared = sum(float(g.double().square().sum()) for g in gradients)
        loss = module.losses[-1]
        rate = contraction_rate(module.learning_rate, squared / (2 * loss)) if loss > 0 else math.nan
        return {"loss/local_rate": rate}
