"""The main study: train one model, and measure the NTK, the gradient's error and the loss's decay."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import lightning as L
import torch

from ntkode.data import DataModule
from ntkode.data.checks import whole_number
from ntkode.losses import check_loss
from ntkode.metrics import Metric
from ntkode.models import ODEModel
from ntkode.ntk import Match, Network
from ntkode.results import RunRecord, provenance, summarise
from ntkode.studies.base import Config, build
from ntkode.tracking import HistoryLogger, Tracker
from ntkode.training import TrainingModule

LARGEST_SEED = 2**32 - 1  # NumPy's


class MetricsMissing(RuntimeError):
    """A metric that applies to the run did not deliver finite values."""

    remedy = "see log.txt in the run's folder"


class Training:
    """`study=training`: one cell is one training run.

    Args:
        require_metrics: whether a metric that applies and is missing or not finite fails the run.
    """

    def __init__(self, require_metrics: bool = False) -> None:
        self.require_metrics = require_metrics

    def run(self, config: Config, record: RunRecord, tracker: Tracker) -> None:
        """Train by the config's groups; rows go to the record's history and to the tracker.

        Raises:
            DataError: the data cannot be had as asked.
            Diverged: the loss or a parameter stopped being finite.
            SolverFailure: the ODE could not be solved.
            MetricsMissing: see `require_metrics`.
            ValueError: a setting out of range.
        """
        began = time.perf_counter()
        L.seed_everything(whole_number("seed", config["seed"], least=0, most=LARGEST_SEED), verbose=False)
        record.set_phase("reading the data")
        data = _build_data(config)
        record.set_phase("preparing")
        metrics: list[Metric] = list(build(config["metrics"]).values())
        loggers = [HistoryLogger(record), *tracker.loggers]
        trainer: L.Trainer = build(config["trainer"])(callbacks=metrics, logger=loggers)
        record.write_provenance(
            provenance(
                seeds={"seed": config["seed"]},
                dataset=data.description,
                threads=torch.get_num_threads(),
                device=str(trainer.strategy.root_device),
            )
        )
        if config.get("match") is not None:
            record.set_phase("matching the initialisation")
        scales = _matched_scales(config, data)
        module = _build_module(config, data, trainer.strategy.root_device, scales)
        record.set_phase(
            "spectrum of the training kernel" if config["optimizer"]["lr"] == "auto" else "training"
        )
        learning_rate = module.learning_rate
        record.set_phase("training")
        try:
            trainer.fit(module, datamodule=data)
        finally:  # what a run that ends early has measured counts too
            history = record.history()
            missing = _missing((m for m in metrics if m.active), module, history)
            told = {
                "learning_rate": learning_rate,
                **{f"model/{name}": value for name, value in scales.items()},
                "cost/run_seconds": time.perf_counter() - began,
                "metrics_missing": missing,
            }
            record.write_summary(summarise(history) | told)
        if missing and self.require_metrics:
            raise MetricsMissing(f"missing or not finite: {', '.join(missing)}")


def _build_data(config: Config) -> DataModule:
    data: DataModule = build(config["dataset"])
    data.setup()
    return data


def _matched_scales(config: Config, data: DataModule) -> dict[str, float]:
    """σ_w and σ_v where `match` is asked for, as the model takes them; none otherwise.

    Raises:
        UnreachableTarget: the activation cannot be matched.
        ValueError: a model that has no infinite-width limit of its own.
    """
    match: Match | None = build(config.get("match"))
    if match is None:
        return {}
    keys = config["model"]
    if "sigma_w" not in keys:
        raise ValueError(
            f"match={config['choices']['match']} sets sigma_w and sigma_v, which model="
            f"{config['choices']['model']} has not: take model=neural_ode, model=resnet or match=null"
        )
    x = data.train.x.double()
    network = Network(
        build(keys["activation"]),
        float(keys["sigma_u"]) ** 2 * x.square().mean(1),
        float(keys["horizon"]),
        keys.get("depth"),
    )
    scales = match.scales(network)
    return {"sigma_w": scales.sigma_w, "sigma_v": scales.sigma_v}


def _build_module(
    config: Config, data: DataModule, device: torch.device, scales: Mapping[str, float]
) -> TrainingModule:
    loss = build(config["loss"])
    check_loss(loss, data.task, data.out_features)
    model: ODEModel = build(config["model"])(
        in_features=data.in_features, out_features=data.out_features, **scales
    )
    optimizer = config["optimizer"]
    return TrainingModule(
        model.to(device, data.dtype),
        loss,
        data,
        build(optimizer["algorithm"]),
        learning_rate=optimizer["lr"],
        lr_factor=optimizer["lr_factor"],
    )


def _missing(
    metrics: Iterable[Metric], module: TrainingModule, history: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Names that the metrics owe and did not deliver, and names with a value that is not finite."""
    owed = {"loss/train", "loss/ratio"}
    for metric in metrics:
        owed |= metric.names(module)
    values = [(name, value) for row in history for name, value in row.items()]
    infinite = {name for name, value in values if not math.isfinite(value)}
    return sorted(owed - {name for name, _ in values} | infinite)
