"""The main study: train a model, and measure the NTK, the error of the gradient and the decay of the loss."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ntkode.metrics import Metric
from ntkode.ranks import from_first, rank
from ntkode.results import RunRecord, summarise
from ntkode.studies.base import Config
from ntkode.studies.checkpoints import Checkpoints, DurableCheckpointIO, checkpoint_origin
from ntkode.studies.preparation import (
    build_metrics,
    build_model,
    build_trainer,
    check_split,
    read_data,
    replay,
    scales_summary,
    seed_everything,
    store_provenance,
    store_resumption,
    training_module,
)
from ntkode.tracking import HistoryLogger, Tracker
from ntkode.training import TrainingModule


class MetricsMissing(RuntimeError):
    """A metric that applies to the run has no values, or values that are not finite."""

    remedy = "see log.txt in the run's folder"


class Training:
    """`study=training`: one run trains one model.

    Args:
        require_metrics: whether the run fails if a metric that applies has no values or non-finite ones.
    """

    distributed = True  # runs on all ranks; rank 0 stores the rows

    def __init__(self, require_metrics: bool = False) -> None:
        self.require_metrics = require_metrics

    def run(self, config: Config, record: RunRecord, tracker: Tracker) -> None:
        """Train, and append each row of metrics to the record's history and to the tracker.

        The training resumes from the record's newest usable checkpoint, if it has one.

        Raises:
            DataError: the data are not available as configured.
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
        metrics = _of_this_rank(build_metrics(config))
        origin = checkpoint_origin(config, data)
        checkpoints = Checkpoints(record, config["checkpoint"]["every_seconds"], metrics, origin)
        start = from_first(checkpoints.newest_usable)
        loggers = [HistoryLogger(record), *tracker.loggers] if rank() == 0 else []
        callbacks = [*metrics.values(), checkpoints]
        trainer = build_trainer(config, callbacks=callbacks, logger=loggers)
        trainer.strategy.checkpoint_io = DurableCheckpointIO()
        device = trainer.strategy.root_device
        model = build_model(config, data, device)
        check_split(data, model)
        module = training_module(config, data, model, config["optimizer"]["lr"])
        if start is None:
            store_provenance(record, config, data, device)
            auto = config["optimizer"]["lr"] == "auto"
            record.set_phase("spectrum of the training kernel" if auto else "training")
            _ = module.learning_rate
        else:
            store_resumption(record, start, device)
            replay(record, tracker)
        record.set_phase("training")
        try:
            trainer.fit(module, datamodule=data, ckpt_path=start)
        finally:  # a run that fails keeps its measurements
            history = record.history()
            missing = _missing((m for m in metrics.values() if m.active), module, history)
            extra = {
                "learning_rate": module.learning_rate,
                **scales_summary(config, model),
                "cost/run_seconds": checkpoints.earlier_seconds + time.perf_counter() - began,
                "metrics_missing": missing,
            }
            record.write_summary(summarise(history) | extra)
        if rank() == 0 and missing and self.require_metrics:
            raise MetricsMissing(f"missing or not finite: {', '.join(missing)}")


def _of_this_rank(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """The metrics that this rank measures: all on rank 0, the collective ones on other ranks."""
    return {name: metric for name, metric in metrics.items() if rank() == 0 or metric.collective}


def _missing(
    metrics: Iterable[Metric], module: TrainingModule, history: Iterable[Mapping[str, Any]]
) -> list[str]:
    """The metrics' names without a value in the history, and all names with a value that is not finite."""
    expected = {"loss/train", "loss/ratio"}
    for metric in metrics:
        expected |= metric.names(module)
    values = [(name, value) for row in history for name, value in row.items()]
    infinite = {name for name, value in values if not math.isfinite(value)}
    return sorted(expected - {name for name, _ in values} | infinite)
