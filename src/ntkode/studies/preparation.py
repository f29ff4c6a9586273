"""The parts of a run, built from its config (data, model, training module), and the storage of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from ntkode.checks import SettingError, whole_number
from ntkode.data import DataModule
from ntkode.integrate import Solver
from ntkode.losses import check_loss
from ntkode.metrics import Metric
from ntkode.models import NeuralODE, ODEModel
from ntkode.ntk import Match, Network
from ntkode.ranks import act_as_first, ranks
from ntkode.results import RunRecord, hardware, provenance, user_code, utc_now
from ntkode.studies.base import Config, build
from ntkode.tracking import Tracker
from ntkode.training import TrainingModule

LARGEST_SEED = 2**32 - 1  # NumPy's
# Methods that treat each sample independently; adaptive ones choose steps for the whole batch.
UNCOUPLED = ("euler", "midpoint", "rk4")


def seed_everything(config: Config) -> None:
    """Seed the generators of torch, NumPy and Python by the config's `seed`.

    Raises:
        SettingError: `seed` is not a whole number from 0 to 2³² − 1.
    """
    L.seed_everything(whole_number("seed", config["seed"], least=0, most=LARGEST_SEED), verbose=False)


def read_data(config: Config) -> DataModule:
    """The data set of the config, set up.

    Raises:
        DataError: the data are not available as configured.
    """
    data: DataModule = build(config["dataset"])
    data.setup()
    return data


def begin_measuring(config: Config, record: RunRecord) -> tuple[DataModule, torch.device]:
    """Seed the generators, read the data and store the provenance of a run that does not train.

    Returns:
        The data, and the device of the config's trainer.

    Raises:
        DataError: the data are not available as configured.
    """
    seed_everything(config)
    record.set_phase("reading the data")
    data = read_data(config)
    trainer = build_trainer(config, logger=False)
    device = trainer.strategy.root_device
    store_provenance(record, config, data, device)
    return data, device


def build_trainer(config: Config, **options: Any) -> L.Trainer:
    """The trainer of the config, with more options of `lightning.Trainer`.

    From now on float32 products and convolutions have full precision, on a GPU too, where PyTorch would
    compute convolutions in TF32.

    A trainer of one process ignores the variables of launchers, such as SLURM_NTASKS in a batch script:
    without an explicit environment, Lightning would take the process for one task of several.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    if not config["trainer"].get("strategy"):
        act_as_first()
        options["plugins"] = [*options.get("plugins", ()), LightningEnvironment()]
    trainer: L.Trainer = build(config["trainer"])(**options)
    return trainer


def build_model(config: Config, data: DataModule, device: torch.device) -> ODEModel:
    """The model of the config for these data, at its initialisation, in the data's dtype.

    Raises:
        ValueError: a setting out of range, a model of images with other data, or `match` with a model whose
            infinite-width limit is not known.
        UnreachableTarget: the activation cannot be matched as `match` asks.
    """
    scales = _model_scales(config, data)
    model: ODEModel = build(config["model"])(
        in_features=data.in_features, out_features=data.out_features, **scales, **_image_shape(config, data)
    )
    if scales and not isinstance(model, NeuralODE):
        raise _unmatched(config)
    return model.to(device, data.dtype)


def scales_summary(config: Config, model: ODEModel) -> dict[str, float]:
    """σ_w and σ_v for the run's summary if `match` sets them; empty if the config gives them."""
    if not config.get("match") or not isinstance(model, NeuralODE):
        return {}
    return {"model/sigma_w": model.sigma_w, "model/sigma_v": model.sigma_v}


def _model_scales(config: Config, data: DataModule) -> dict[str, float]:
    """σ_w and σ_v by `match`, as keyword arguments of the model; empty without `match`."""
    if not config.get("match"):
        return {}
    match: Match = build(config["match"])
    keys = config["model"]
    if "sigma_w" not in keys:
        raise _unmatched(config)
    network = Network(
        activation=build(keys["activation"]),
        inputs=float(keys["sigma_u"]) ** 2 * data.train.x.double().square().mean(1),
        horizon=float(keys["horizon"]),
        depth=keys.get("depth"),
    )
    scales = match.scales(network)
    return {"sigma_w": scales.sigma_w, "sigma_v": scales.sigma_v}


def _unmatched(config: Config) -> ValueError:
    return ValueError(
        f"match={config['choices']['match']} sets sigma_w and sigma_v by an infinite-width limit, which is "
        f"not known for model={config['choices']['model']}: take model=neural_ode, model=resnet or match=none"
    )


def _image_shape(config: Config, data: DataModule) -> dict[str, tuple[int, int, int]]:
    """The data's image shape, for a model of images whose config does not give it; empty otherwise.

    Raises:
        ValueError: the data have no image shape.
    """
    keys = config["model"]
    if "image_shape" not in keys or keys["image_shape"] is not None:
        return {}
    if data.image_shape is None:
        choices = config["choices"]
        raise ValueError(
            f"model={choices['model']} needs images, and dataset={choices['dataset']} has none: take "
            "dataset=mnist, dataset=cifar10 or dataset=digits, or model=neural_ode; or give the shape of the "
            f"{data.in_features} features, as in model.image_shape=[1,1,{data.in_features}]"
        )
    return {"image_shape": data.image_shape}


def paper_model(model: ODEModel, config: Config) -> NeuralODE:
    """The model, checked to have the paper's parameterisation (`NeuralODE`, or its subclass `ResNet`).

    Raises:
        ValueError: it has another parameterisation, whose limits are not known.
    """
    if isinstance(model, NeuralODE):
        return model
    raise ValueError(
        f"model={config['choices']['model']} does not have the paper's parameterisation, which "
        f"study={config['choices']['study']} needs: take model=neural_ode or model=resnet"
    )


def build_metrics(config: Config) -> dict[str, Metric]:
    """The metrics of the config, by name.

    Raises:
        SettingError: the config sets keys of a metric that its choice of `metrics` does not define.
    """
    for name, node in config["metrics"].items():
        if isinstance(node, Mapping) and "_target_" not in node:
            keys = ", ".join(f"metrics.{name}.{key}" for key in node) or f"metrics.{name}"
            choice = config["choices"]["metrics"]
            raise SettingError(
                f"{keys} cannot be set: metrics={choice} does not define the metric {name}",
                f"another choice of metrics, such as metrics=full, or ~metrics.{name}",
            )
    metrics: dict[str, Metric] = build(config["metrics"])
    return metrics


def training_module(
    config: Config, data: DataModule, model: ODEModel, learning_rate: float | str
) -> TrainingModule:
    """The module that trains `model` by the config's loss and optimizer.

    Args:
        config: the resolved config.
        data: the data set, set up.
        model: the model to train.
        learning_rate: η, or "auto" (see `TrainingModule`).

    Raises:
        ValueError: the loss does not suit the data.
    """
    loss = build(config["loss"])
    check_loss(loss, data.task, data.out_features)
    optimizer = config["optimizer"]
    return TrainingModule(
        model,
        loss,
        data,
        build(optimizer["algorithm"]),
        learning_rate=learning_rate,
        lr_factor=optimizer["lr_factor"],
    )


def store_provenance(record: RunRecord, config: Config, data: DataModule, device: torch.device) -> None:
    """Store the run's provenance: code (ntkode's and the user's), packages, hardware, seeds and data."""
    stored = provenance(
        seeds={"seed": config["seed"]},
        dataset=data.description,
        threads=torch.get_num_threads(),
        device=str(device),
    )
    record.write_provenance(stored | {"user_code": user_code(config)})


def store_resumption(record: RunRecord, checkpoint: Path, device: torch.device) -> None:
    """Add to the provenance the checkpoint from which the run resumes, the time and the machine."""
    stored = record.provenance() or {}
    resumed = {"checkpoint": checkpoint.name, "recorded": utc_now(), "hardware": hardware(str(device))}
    record.write_provenance(stored | {"resumed": [*stored.get("resumed", []), resumed]})


def replay(record: RunRecord, tracker: Tracker) -> None:
    """Send the rows of the record's history to the tracker, which starts empty at each attempt."""
    for row in record.history():
        values = {name: value for name, value in row.items() if name != "step"}
        for logger in tracker.loggers:
            logger.log_metrics(values, step=row["step"])


def append_row(record: RunRecord, tracker: Tracker, step: int, values: Mapping[str, float]) -> None:
    """Add measurements to the record's history and to the tracker."""
    record.append({"step": step, **values})
    for logger in tracker.loggers:
        logger.log_metrics(dict(values), step=step)


def check_split(data: DataModule, model: ODEModel) -> None:
    """Check that several ranks train the run as one process does.

    Raises:
        ValueError: the number of samples per step is not a multiple of the ranks, or a solver couples them.
    """
    if ranks() == 1:
        return
    key = "n_train" if data.batch_size is None else "optimizer.batch_size"
    samples = data.batch_size or data.n_train
    if samples % ranks():
        fitting = max(1, samples // ranks()) * ranks()
        raise ValueError(
            f"{key}={samples} samples per step cannot be split evenly among trainer.devices={ranks()}: "
            f"take {key}={fitting}"
        )
    solvers = {"solver": model.solver, "solver@gradient.backward": getattr(model.gradient, "backward", None)}
    for name, solver in solvers.items():
        if isinstance(solver, Solver) and solver.method not in UNCOUPLED:
            raise ValueError(
                f"{name}={solver.method} couples the samples of a step, so trainer=ddp cannot split them: "
                f"take {name}=rk4, or trainer=cpu"
            )
