"""The main study: train one model, and measure the NTK, the gradient's error and the loss's decay."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import lightning as L

from ntkode.metrics import Metric
from ntkode.ranks import rank
from ntkode.results import RunRecord, summarise
from ntkode.studies.base import Config, build
from ntkode.studies.distribution import check_split
from ntkode.studies.preparation import (
    build_model,
    read_data,
    scales_told,
    seed_everything,
    store_provenance,
    training_module,
)
from ntkode.tracking import HistoryLogger, Tracker
from ntkode.training import TrainingModule


class MetricsMissing(RuntimeError):
    """A metric that applies to the run did not deliver finite values."""

    remedy = "see log.txt in the run's folder"


class Training:
    """`study=training`: one cell is one training run.

    Args:
        require_metrics: whether a metric that applies and is missing or not finite fails the run.
    """

    distributed = True  # runs on every rank of a cell; rank 0 measures

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
        seed_everything(config)
        record.set_phase("reading the data")
        data = read_data(config)
        record.set_phase("preparing")
        first = rank() == 0
        metrics: list[Metric] = list(build(config["metrics"]).values()) if first else []
        loggers = [HistoryLogger(record), *tracker.loggers] if first else []
        trainer: L.Trainer = build(config["trainer"])(callbacks=metrics, logger=loggers)
        device = trainer.strategy.root_device
        store_provenance(record, config, data, device)
        model = build_model(config, data, device)
        check_split(data, model)
        module = training_module(config, data, model, config["optimizer"]["lr"])
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
                **scales_told(config, model),
                "cost/run_seconds": time.perf_counter() - began,
                "metrics_missing": missing,
            }
            record.write_summary(summarise(history) | told)
        if first and missing and self.require_metrics:
            raise MetricsMissing(f"missing or not finite: {', '.join(missing)}")


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
