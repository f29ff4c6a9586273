"""Loss and accuracy on the test split, and the variance of the outputs."""

from __future__ import annotations

import torch

from ntkode.metrics.base import Metric, Values
from ntkode.training import TrainingModule


class TestEvaluation(Metric):
    """`loss/test`: mean loss per sample on the test split; `accuracy/test`: share of correct classes.

    The predicted class is the index of the largest output. Regression has no accuracy.
    """

    __test__ = False  # keeps pytest from collecting this class for its name

    def names(self, module: TrainingModule) -> set[str]:
        """`loss/test`, and `accuracy/test` on a classification set."""
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

    At initialisation f has mean zero over the weights, so the expected value is the mean of the NNGP kernel's
    diagonal, the variance of an output.
    """

    def __init__(self, every: int | None = None) -> None:
        super().__init__(every)

    def names(self, module: TrainingModule) -> set[str]:
        """The only logged name, `output/variance`."""
        return {"output/variance"}

    @torch.no_grad()
    def measure(self, module: TrainingModule) -> Values:
        """One solve of the training set."""
        f = module.model(module.split("train").x)
        return {"output/variance": float(f.double().square().mean())}
