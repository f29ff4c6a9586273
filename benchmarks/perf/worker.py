"""One measurement in a separate process: `python worker.py spec.json`, started by runner.py."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import PEERS
from problem import WARM_UP, Problem, draw, ill_conditioned, load, model_and_inputs
from stopwatch import HostMeter, Stopwatch
from torch import Tensor

from ntkode.models import NeuralODE
from ntkode.ntk import KernelReport, measure_ntk, spectrum

# Up to this number of samples the float64 reference of λ_min is uncompressed.
MOST_UNCOMPRESSED = 256
# Sides of the product of two matrices that measures the device's peak.
PEAK_SIDE = {"cpu": 2048, "cuda": 8192}
PEAK_REPEATS = 5


class CudaMeter:
    """Memory that PyTorch allocates on a GPU."""

    def synchronise(self) -> None:
        """Wait until the GPU has finished."""
        torch.cuda.synchronize()

    def on_host(self, kernel: Tensor) -> np.ndarray:
        """The kernel as a NumPy array."""
        values: np.ndarray = kernel.cpu().numpy()
        return values

    def reset(self) -> None:
        """Reset the peak to the memory allocated now."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self._before = torch.cuda.memory_allocated()

    def peak(self) -> tuple[int, int]:
        """Bytes of the peak above the level at `reset`, and the peak of reserved bytes."""
        return torch.cuda.max_memory_allocated() - self._before, torch.cuda.max_memory_reserved()


@dataclasses.dataclass
class Worker:
    """The measurements of all contestants except neural-tangents.

    Attributes:
        problem: the sizes.
        device: type of the torch device.
        watch: takes the measurement.
        arrays: file with parameters and inputs.
    """

    problem: Problem
    device: str
    watch: Stopwatch
    arrays: Path

    def ours(self, *, with_spectrum: bool) -> None:
        """ntkode with its default policy: only the kernel, or the kernel and λ_min."""
        details: dict[str, Any] = {}

        def call(model: NeuralODE, x: Tensor) -> Tensor:
            measured = measure_ntk(model, x)
            if with_spectrum:
                details["lambda_min"] = spectrum(measured.kernel).lambda_min
            details.update(report_values(measured.report, model, len(x)))
            return measured.kernel

        model, x = self._warmed_up(call)
        self.watch.measure(lambda: call(model, x), details)

    def one_pass(self) -> None:
        """One forward and one adjoint pass of the whole batch, weights frozen."""

        def call(model: NeuralODE, x: Tensor) -> None:
            torch.autograd.grad(model(x).sum(), x)

        model, x = self._warmed_up(lambda m, y: call(m.requires_grad_(False), y.requires_grad_()))
        model.requires_grad_(False)
        x.requires_grad_()
        self.watch.measure(lambda: call(model, x), {})

    def peer(self, name: str) -> None:
        """One of `PEERS`, with the number of samples per call that is fastest for it."""
        peer = PEERS[name]
        model, x = self._warmed_up(lambda m, y: peer.kernel(m, y, len(y)))
        chunk = peer.chunk(model, x, self.watch.meter.synchronise)
        self.watch.measure(lambda: peer.kernel(model, x, chunk), {"chunk": chunk})

    def accuracy(self, arrays: dict[str, np.ndarray]) -> None:
        """λ_min of the default policy and of a float64 kernel, for the same parameters and inputs."""
        model, x = model_and_inputs(arrays, self.problem, self.device)
        if self.problem.samples <= MOST_UNCOMPRESSED:
            reference = measure_ntk(model, x, method="build", dtype=torch.float64)
        else:
            reference = measure_ntk(model, x, tolerance=1e-12, dtype=torch.float64)
        ours, exact = spectrum(measure_ntk(model, x).kernel), spectrum(reference.kernel)
        self.watch.write(
            lambda_min=ours.lambda_min,
            reference=exact.lambda_min,
            relative_error=abs(ours.lambda_min / exact.lambda_min - 1),
            condition_number=exact.condition_number,
        )

    def matmul_peak(self, dtype: torch.dtype) -> None:
        """Floating-point operations per second of a product of two large matrices of this dtype."""
        side = PEAK_SIDE[self.device]
        a, b = torch.randn(2, side, side, device=self.device, dtype=dtype)
        out, seconds = torch.empty_like(a), []
        for _ in range(PEAK_REPEATS + 1):
            self.watch.meter.synchronise()
            begin = time.perf_counter()
            torch.mm(a, b, out=out)
            self.watch.meter.synchronise()
            seconds.append(time.perf_counter() - begin)
        self.watch.write(flops_a_second=2 * side**3 / min(seconds[1:]), side=side)

    def _warmed_up(self, call: Callable[[NeuralODE, Tensor], object]) -> tuple[NeuralODE, Tensor]:
        small = dataclasses.replace(self.problem, samples=WARM_UP[0], width=WARM_UP[1])
        call(*model_and_inputs(draw(small), small, self.device))
        return model_and_inputs(load(self.arrays), self.problem, self.device)


def report_values(report: KernelReport, model: NeuralODE, samples: int) -> dict[str, Any]:
    """A report as plain values, with the least number of floating-point operations of its method."""
    n, d = model.W.shape[0], model.U.shape[1]
    calls = report.choices["W"].calls
    flops = 2 * samples * n * (d + 2 * n * calls)  # encode; W forwards and backwards
    for name, choice in report.choices.items():
        p, q = getattr(model, name).shape
        if choice.bases is not None:
            flops += 2 * samples * choice.calls * choice.terms * (p + q)
        # The entries of a symmetric kernel, times two for multiplication and addition.
        half = samples * (samples + 1)
        if choice.contraction == "pairs":
            flops += half * choice.terms**2 * (p + q)
        else:
            flops += (2 * samples * choice.terms + half) * p * q
    choices = {
        name: f"{c.calls} calls, {c.terms} terms, {c.contraction}" for name, c in report.choices.items()
    }
    return {"choices": choices, "jacobian_error": report.jacobian_error, "flops": flops}


def main(spec: dict[str, Any]) -> None:
    """Carry out the measurement of `spec` and store its result, or the reason for its failure."""
    torch.set_num_threads(1)
    meter = CudaMeter() if spec["device"] == "cuda" else HostMeter()
    watch = Stopwatch(Path(spec["folder"]), spec["limit_seconds"], meter)
    problem = Problem(spec["samples"], spec["width"], spec["solver"], spec["steps"])
    worker = Worker(problem, spec["device"], watch, Path(spec["arrays"]))
    tasks: dict[str, Callable[[], None]] = {
        "ntkode": lambda: worker.ours(with_spectrum=False),
        "ntkode-spectrum": lambda: worker.ours(with_spectrum=True),
        "pass": worker.one_pass,
        "accuracy": lambda: worker.accuracy(load(worker.arrays)),
        "accuracy-ill": lambda: worker.accuracy(ill_conditioned(problem, spec["device"])),
        "peak": lambda: worker.matmul_peak(torch.float32),
        "peak-float64": lambda: worker.matmul_peak(torch.float64),
    }
    try:
        tasks.get(spec["contestant"], lambda: worker.peer(spec["contestant"]))()
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        watch.write(error=f"{type(error).__name__}: {reason[:200]}")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
