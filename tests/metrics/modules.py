"""Stand-ins for the training module, and metrics to measure with them, for tests without a training."""

import math
from types import SimpleNamespace

import torch

from ntkode import metrics
from ntkode.gradients import Objective
from ntkode.integrate import Solver, SolverFailure
from ntkode.losses import SquaredError
from ntkode.models import NeuralODE


def randn(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def split(rows, outputs=3, labels=None):
    return SimpleNamespace(x=randn(rows, 4), y=randn(rows, outputs, seed=2), labels=labels)


class Drawing(metrics.Metric):
    """Metric that draws random numbers when it measures."""

    def names(self, module):
        return {"drawn"}

    def prepare(self, module):
        torch.rand(3)

    def measure(self, module):
        return {"drawn": float(torch.rand(()))}


class OfTheLoss(metrics.LossMetric):
    """A metric of the loss, every five steps."""

    def names(self, module):
        return {"loss"}

    def measure(self, module):
        return {"loss": module.losses[-1]}


class Failing(Drawing):
    def prepare(self, module):
        raise SolverFailure("no solution")


class Bystander(Drawing):
    def applies(self, module):
        return False


def run(metric, steps=5):
    """The records of a training of these steps, and the seconds that the metric notes: two a call."""
    clock = iter(range(0, 1000, 2))
    records, seconds = {}, []
    module = SimpleNamespace(
        step=0,
        device=torch.device("cpu"),
        clock=lambda: next(clock),
        note_metric_seconds=lambda name, s: seconds.append((name, s)),
    )
    module.record = lambda values: records.setdefault(module.step, values)
    metric.on_train_start(None, module)
    for module.step in range(steps):
        metric.on_train_batch_start(None, module, None, module.step)
    module.step = steps
    metric.on_train_end(None, module)
    return records, seconds


CURVE = [2.0 * math.exp(-0.01 * k) if k < 50 else 2.0 * math.exp(-0.5 - 0.002 * (k - 50)) for k in range(71)]


def after(last, **options):
    """A module that has trained for `last` of 70 steps."""
    losses = CURVE[: last + 1]
    return SimpleNamespace(losses=losses, data=SimpleNamespace(steps=70), learning_rate=0.1, **options)


def small(**options):
    torch.manual_seed(0)
    solver = Solver("rk4", steps=3)
    return NeuralODE(4, 8, 3, **({"activation": "tanh", "solver": solver} | options)).double()


def probed(model, rows=6, **options):
    """A module whose training set and probe are rows of one set."""
    train = split(rows)
    return SimpleNamespace(
        model=model,
        split=lambda name: {"train": train}[name],
        output=lambda name: {"train": model(train.x).detach()}[name],
        probe=lambda size: Objective(SquaredError(), train.x[:size], train.y[:size]),
        loss=SquaredError(),
        **({"data": SimpleNamespace(train=train, steps=4), "learning_rate": 1e-3} | options),
    )
