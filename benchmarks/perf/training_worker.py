"""Times of training steps by width, in a separate process: `python training_worker.py spec.json`.

Contestants
    ntkode       a run's own loop: Lightning, the data module, the training module; no metrics
    metrics      the same with `metrics=standard`
    compiled     ntkode with a vector field compiled by torch.compile
    torchdiffeq  a plain loop: `odeint`, mean squared loss, `backward`, `SGD.step`
All take the same model, samples, solver, learning rate and float32.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from stopwatch import HostMeter, Stopwatch
from torch import Tensor
from torchdiffeq import odeint
from worker import CudaMeter

from ntkode.advice.composing import composer
from ntkode.cli.choices import CONF
from ntkode.cli.resolvers import register_resolvers
from ntkode.models import NeuralODE
from ntkode.studies.preparation import (
    build_metrics,
    build_model,
    build_trainer,
    read_data,
    seed_everything,
    training_module,
)

# Steps before the clock starts: first calls load libraries, choose algorithms and compile.
WARM_UP = 5
RATE = 0.01
Meter = HostMeter | CudaMeter


class Clock(L.Callback):
    """Seconds of the steps after `WARM_UP`."""

    def __init__(self, synchronise: Callable[[], None]) -> None:
        self._synchronise = synchronise
        self.seconds = math.nan

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Start the clock at step `WARM_UP`."""
        if trainer.global_step == WARM_UP:
            self._synchronise()
            self._began = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Take the mean over the steps since."""
        self._synchronise()
        self.seconds = (time.perf_counter() - self._began) / (trainer.global_step - WARM_UP)


def lightning_step(
    spec: dict[str, Any], meter: Meter, *, metrics: str = "none", compiled: bool = False
) -> dict[str, float]:
    """Mean seconds of a step of the run's own loop, and its floating-point operations."""
    config = _config(spec, metrics)
    seed_everything(config)
    data = read_data(config)
    measured = build_metrics(config)
    clock = Clock(meter.synchronise)
    trainer = build_trainer(config, callbacks=[*measured.values(), clock], logger=False)
    model: Any = build_model(config, data, trainer.strategy.root_device)
    if compiled:
        model.vector_field = torch.compile(model.vector_field)
    trainer.fit(training_module(config, data, model, RATE), datamodule=data)
    return {"seconds": clock.seconds, "flops": flops(spec["samples"], model)}


def plain_step(spec: dict[str, Any], meter: Meter) -> dict[str, float]:
    """Mean seconds of a step of a loop that a user of torchdiffeq writes."""
    config = _config(spec, "none")
    seed_everything(config)
    data, device = read_data(config), torch.device(spec["device"])
    model: Any = build_model(config, data, device)
    x, y = data.train.x.to(device), data.train.y.to(device)
    u, w, v = (torch.nn.Parameter(p.detach().clone()) for p in (model.U, model.W, model.v))
    optimiser = torch.optim.SGD([u, w, v], lr=RATE)
    (d, n), steps = u.shape[::-1], model.solver.steps
    times = torch.linspace(0.0, 1.0, steps + 1, device=device)

    def field(t: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(h) @ w.T / math.sqrt(n)

    def step() -> None:
        optimiser.zero_grad()
        h = odeint(field, x @ u.T / math.sqrt(d), times, method="rk4")[-1]
        (0.5 * (torch.tanh(h) @ v / math.sqrt(n) - y).square().sum(1).mean()).backward()
        optimiser.step()

    for _ in range(WARM_UP):
        step()
    meter.synchronise()
    began = time.perf_counter()
    for _ in range(spec["steps"]):
        step()
    meter.synchronise()
    return {"seconds": (time.perf_counter() - began) / spec["steps"]}


def flops(samples: int, model: NeuralODE) -> int:
    """Floating-point operations of the matrix products of a step: forwards, and twice that backwards."""
    n, d = model.U.shape
    calls = 4 * (model.solver.steps or 1)
    return 3 * 2 * samples * n * (d + n * calls + model.v.shape[1])


def _config(spec: dict[str, Any], metrics: str) -> dict[str, Any]:
    trainer = "gpu" if spec["device"] == "cuda" else "cpu"
    overrides = [f"model.width={spec['width']}", f"n_train={spec['samples']}", f"trainer={trainer}"]
    overrides += [f"steps={WARM_UP + spec['steps']}", f"metrics={metrics}", f"dataset={spec['dataset']}"]
    overrides += ["logger=none"]
    register_resolvers()
    with composer(CONF, overrides) as compose:
        return dict(compose([]))


def main(spec: dict[str, Any]) -> None:
    """Measure the contestant of `spec` at each width that the time limit allows, or write why not."""
    torch.set_num_threads(1)
    meter = CudaMeter() if spec["device"] == "cuda" else HostMeter()
    watch = Stopwatch(Path(spec["folder"]), spec["limit_seconds"], meter)
    contestants: dict[str, Callable[..., dict[str, float]]] = {
        "ntkode": lightning_step,
        "metrics": partial(lightning_step, metrics="standard"),
        "compiled": partial(lightning_step, compiled=True),
        "torchdiffeq": plain_step,
    }
    step, by_width, began = contestants[spec["contestant"]], {}, time.monotonic()
    watch.start()
    for width in spec["widths"]:
        if time.monotonic() - began > spec["limit_seconds"] / 2:  # so that this process ends by itself
            break
        try:
            by_width[width] = step(spec | {"width": width}, meter)
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            watch.write(error=f"n = {width}: {type(error).__name__}: {reason[:200]}", by_width=by_width)
            return
    watch.write(by_width=by_width)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
