"""A small training run for the tests of metrics."""

import lightning as L
import torch
from lightning.pytorch.loggers import Logger

from ntkode import metrics
from ntkode.data import Digits
from ntkode.integrate import Backprop, Solver
from ntkode.losses import SquaredError
from ntkode.models import NeuralODE
from ntkode.training import TrainingModule

STEPS = 24


class Rows(Logger):
    """Logger that stores the logged values by step."""

    name = "rows"
    version = "0"

    def __init__(self):
        super().__init__()
        self.rows = {}

    def log_metrics(self, metrics, step=None):
        assert step not in self.rows
        self.rows[step] = metrics

    def log_hyperparams(self, *args, **kwargs):
        pass

    def series(self, name):
        return {step: row[name] for step, row in self.rows.items() if name in row}


def train(
    callbacks,
    *,
    activation="tanh",
    gradient=Backprop(),
    loss=SquaredError(),
    data=None,
    steps=STEPS,
    optimizer=torch.optim.SGD,
    batch_size=None,
    dtype="float64",
    solver=Solver("rk4", steps=4),
    **learning_rate,
):
    L.seed_everything(0, verbose=False)
    data = data or Digits(n_train=30, n_test=20, seed=0, steps=steps, dtype=dtype, batch_size=batch_size)
    data.setup()
    model = NeuralODE(
        data.in_features,
        32,
        data.out_features,
        activation=activation,
        solver=solver,
        gradient=gradient,
        subtract_initial_output=True,
    )
    module = TrainingModule(model.to(data.dtype), loss, data, optimizer, **learning_rate)
    rows = Rows()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=[rows],
        callbacks=callbacks,
        deterministic=True,
        inference_mode=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    return module, rows


BASES = ("Metric", "ProbeMetric", "LossMetric")
# Small probes, and schedules that fit into STEPS; a metric that is not listed has its defaults.
OPTIONS = {
    "TestEvaluation": {"every": 10},
    "ParameterDistance": {"every": 10},
    "NTKSpectrum": {"probe_size": 12, "every": 8},
    "GradientError": {"probe_size": 8, "every": 12},
    "GradientDecomposition": {"probe_size": 8, "every": None},
    "GradientCost": {"probe_size": 8, "every": None},
    "ExactLoss": {"every": None},
    "ReverseDrift": {"probe_size": 8, "every": 12},
    "KinkCrossings": {"probe_size": 8, "every": 12},
    "LimitDistance": {"probe_size": 12, "every": None},
}


def all_metrics():
    """One object of every metric that the package exports."""
    return [getattr(metrics, name)(**OPTIONS.get(name, {})) for name in metrics.__all__ if name not in BASES]
