"""How well the model does on the test split."""

from __future__ import annotations

import torch

from ntkode.metrics.base import Metric, Values
from ntkode.training import TrainingModule


class TestEvaluation(Metric):
    """`loss/test`: mean loss a sample on the test split; `accuracy/test` where there are classes.

    The predicted class is the largest output.
    """

    __test__ = False  # no test class, whatever pytest makes of its name

    def names(self, module: TrainingModule) -> set[str]:
        """Accuracy only on a classification set."""
        classes = module.data.task == "classification"
        return {"loss/test", "accuracy/test"} if classes else {"loss/test"}

    def measure(self, module: TrainingModule) -> Values:
        """Evaluate f − f₀ on the whole test split."""
        f, test = module.output("test"), module.split("test")
        values = {"loss/test": float(module.loss(f, test.y)) / len(f)}
        if test.labels is not None:
            values["accuracy/test"] = float((f.argmax(1) == test.labels).double().mean())
        return values


class OutputVariance(Metric):
    """`output/variance`: (1/(Nk)) Σ_ic f_c(x_i)² on the training split, f before f₀ is subtracted.

    At initialisation its mean over the weights is the mean of the NNGP kernel's diagonal, the variance of an
    output: f has mean zero there.
    """

    def __init__(self, every: int | None = None) -> None:
        super().__init__(every)

    def names(self, module: TrainingModule) -> set[str]:
        """The one."""
        return {"output/variance"}

    @torch.no_grad()
    def measure(self, module: TrainingModule) -> Values:
        """One solve of the training set."""
        f = module.model(module.split("train").x)
        return {"output/variance": float(f.double().square().mean())}
