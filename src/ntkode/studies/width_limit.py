"""The distance of a network of width n from its infinite-width limit, before and after training."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from ntkode.checks import count, positive
from ntkode.data import DataModule
from ntkode.metrics import Metric
from ntkode.models import NeuralODE
from ntkode.ntk import REPRODUCIBLE_BYTES, measure_ntk, network_limit, relative_distance, spectrum
from ntkode.results import RunRecord, summarise
from ntkode.studies.base import Config
from ntkode.studies.preparation import (
    append_row,
    build_metrics,
    build_model,
    build_trainer,
    paper_model,
    read_data,
    scales_summary,
    seed_everything,
    store_provenance,
    training_module,
)
from ntkode.tracking import HistoryLogger, Tracker


class WidthLimit:
    """`study=width_limit`: one run is one width and one seed.

    At θ₀, and after the last step if the run trains, it appends a row with

        ntk/limit_distance   ‖Θ_n − Θ_∞‖_F / ‖Θ_∞‖_F, Θ_n the trace kernel (1/k) Σ_c Θ_cc
        nngp/limit_distance  ‖K_n − K_∞‖_F / ‖K_∞‖_F, K_n = (σ_v²/n) φ(h_T(x))·φ(h_T(x'))
        ntk/drift            ‖Θ_n(k) − Θ_n(0)‖_F / ‖Θ_n(0)‖_F
        ntk/lambda_min, ntk/resolution, ntk/limit_lambda_min, nngp/lambda_min, nngp/limit_lambda_min

    all in float64 on the first training samples. K_n is the covariance of an output over v, given U and W.
    It converges to the NNGP kernel, which cannot be estimated from the outputs of one network.

    The limits are those of the network with the run's fixed-step solver (or the `fixed_twin` of an adaptive
    one), so that a distance is due to the width alone. The distance to the limit of the exact flow would not
    fall below the solver's error. The expected rate at θ₀ is n^(−1/2).

    With `optimizer.lr=auto` the learning rate is optimizer.lr_factor/λ_max(Θ_∞) on the training set. It is
    equal for all widths and seeds, so that they are compared after the same training time.

    Args:
        probe_size: number of training samples on which the kernels are measured; all if there are fewer.
        train: whether the run trains, for `steps` steps with the config's optimizer, loss and metrics.

    Raises:
        ValueError: `probe_size` below 1.
    """

    def __init__(self, probe_size: int = 64, train: bool = True) -> None:
        self.probe_size = count("study.probe_size", probe_size)
        self.train = train

    def run(self, config: Config, record: RunRecord, tracker: Tracker) -> None:
        """Measure at initialisation, train, and measure again.

        Raises:
            DataError: the data are not available as configured.
            ValueError: a model without the paper's parameterisation, a solver whose limit is not known, or a
                setting out of range.
            BlowUpError: the limit is infinite before the horizon.
            SolverFailure: the ODE could not be solved.
            Diverged: the training diverged.
        """
        began = time.perf_counter()
        seed_everything(config)
        record.set_phase("reading the data")
        data = read_data(config)
        record.set_phase("infinite-width limit")
        metrics: list[Metric] = list(build_metrics(config).values()) if self.train else []
        loggers = [HistoryLogger(record), *tracker.loggers]
        trainer = build_trainer(config, callbacks=metrics, logger=loggers)
        device = trainer.strategy.root_device
        store_provenance(record, config, data, device)
        model = paper_model(build_model(config, data, device), config)
        distances = LimitDistances(model, data.train.x[: self.probe_size].to(device))
        record.set_phase("kernels at initialisation")
        append_row(record, tracker, 0, distances.measure(model))
        extra: dict[str, Any] = dict(scales_summary(config, model))
        try:
            if self.train:
                rate = config["optimizer"]["lr"]
                if rate == "auto":
                    rate = _limit_learning_rate(config, data, model, distances)
                extra["learning_rate"] = rate
                record.set_phase("training")
                trainer.fit(training_module(config, data, model, rate), datamodule=data)
                record.set_phase("kernels after training")
                append_row(record, tracker, data.steps, distances.measure(model.to(device)))
        finally:  # a run that fails keeps its measurements
            extra["cost/run_seconds"] = time.perf_counter() - began
            record.write_summary(summarise(record.history()) | extra)


class LimitDistances:
    """Measures the distances of a network's kernels from their limits.

    Args:
        model: the network at initialisation.
        x: the probe, shape (N, d), on the model's device.
    """

    def __init__(self, model: NeuralODE, x: Tensor) -> None:
        self.x = x.double()
        self.limit = network_limit(model, self.x)
        self._limit_lambda_min = {
            "ntk/limit_lambda_min": spectrum(self.limit.ntk).lambda_min,
            "nngp/limit_lambda_min": spectrum(self.limit.nngp).lambda_min,
        }
        self._initial: Tensor | None = None

    def measure(self, model: NeuralODE) -> dict[str, float]:
        """The values of one row; `ntk/drift` is relative to the kernel of the first call."""
        model = model.in_double()
        measured = measure_ntk(model, self.x, max_bytes=REPRODUCIBLE_BYTES)
        ntk, nngp = measured.kernel, conditional_nngp(model, self.x)
        if self._initial is None:
            self._initial = ntk
        ntk_spectrum = measured.spectrum
        return {
            "ntk/limit_distance": relative_distance(ntk, self.limit.ntk),
            "nngp/limit_distance": relative_distance(nngp, self.limit.nngp),
            "ntk/drift": relative_distance(ntk, self._initial),
            "ntk/lambda_min": ntk_spectrum.lambda_min,
            "ntk/resolution": ntk_spectrum.resolution,
            "nngp/lambda_min": spectrum(nngp).lambda_min,
        } | self._limit_lambda_min


@torch.no_grad()
def conditional_nngp(model: NeuralODE, x: Tensor) -> Tensor:
    """The covariance (σ_v²/n) φ(h_T(x))·φ(h_T(x')) of an output over v ~ N(0, 1), given U and W.

    Args:
        model: the network; its solver's `fixed_twin` gives h_T.
        x: inputs in the model's dtype, shape (N, d).

    Returns:
        Shape (N, N).

    Raises:
        SolverFailure: the ODE could not be solved.
    """
    twin = model.solved_by(model.solver.fixed_twin(model.scaled_horizon))
    features = twin.activation(twin.flow(twin.encode(x)))
    return model.sigma_v**2 / model.width * features @ features.T


def _limit_learning_rate(
    config: Config, data: DataModule, model: NeuralODE, distances: LimitDistances
) -> float:
    """The learning rate c/λ_max(Θ_∞) on the training set, c = optimizer.lr_factor."""
    whole = data.train.x.to(distances.x)
    kernel = distances.limit.ntk if len(whole) == len(distances.x) else network_limit(model, whole).ntk
    # The full kernel's limit is Θ_∞ ⊗ I_k, with the same largest eigenvalue.
    largest = spectrum(kernel).lambda_max
    return positive("optimizer.lr_factor", config["optimizer"]["lr_factor"]) / largest
