"""Time, memory and accuracy of the empirical NTK of a Neural ODE, computed by ntkode and by other methods.

python benchmarks/perf/ntk.py                                     all, about an hour
python benchmarks/perf/ntk.py --sizes 64,256 --out perf/ntk.json  one small problem, in minutes

Protocol
--------
Kernel      Θ between N samples, k = 1 output, all parameters, at initialisation. Model: h(0) = U x/√d,
            dh/dt = W tanh(h)/√n on [0, 1], f = v^T tanh(h(1))/√n, d = 784, entries N(0, 1), float32; random
            inputs of norm √d. Solvers: RK4 (the 3/8 rule) and Euler, 10 steps each.
Contestants ntkode           `measure_ntk(model, x)`, the default policy: float32 solve, float64 kernel
            ntkode-spectrum  the same, and λ_min by `spectrum`
            pass             one forward and one adjoint pass of the whole batch through torchdiffeq, weights
                             frozen, gradient with respect to the inputs: the minimum of any method
            loop             one forward and backward pass per sample through torchdiffeq, J stacked, J J^T
            jacrev           torch.func's vmap(jacrev), J J^T
            vectors          torch.func's NTK–vector products with all unit cotangents
            neural-tangents  `empirical_ntk_fn`, implementation 1, compiled beforehand, the steps in a scan;
                             in a separate interpreter, which `make perf-peers` installs
            Peers compute in float32. jacrev and vectors use a solver from peers.py, because torchdiffeq does
            not run under vmap; short trials select their number of samples per call.
Measurement Each measurement runs in a fresh process, on the CPU with one thread on one core. After a warm-up
            on a small problem, seconds are the best of 3 calls, or of one call if it takes over 5 s. Memory
            is the peak of resident memory in the first call above its level before it (on a GPU: allocated
            by PyTorch). Limits are 300 s per call and 20 GB resident: a peer that exceeds one is recorded as
            such, never estimated. Ratios compare numbers of the same run. The peak share is the rate of the
            floating-point operations that ntkode needs (passes, compression, contraction), relative to the
            rate of a float32 product of two large matrices in the same run.
Agreement   ‖Θ_peer − Θ_ntkode‖_F / ‖Θ_ntkode‖_F. λ_min is compared with that of a float64 kernel of the same
            parameters and inputs (N ≤ 256: all calls, without compression; above: tolerance 1e-12), for the
            inputs above and for near-duplicate inputs, where the condition number is about 1e6.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from problem import FEATURES, Problem, draw
from rich.console import Console
from runner import Limits, one_core, run
from stopwatch import REPEATS, SHORT
from tables import HEADINGS, TERMINAL_WIDTH, markdown, terminal, texts

from ntkode.cli.refusal import check_writable, one_message
from ntkode.files import write_atomically
from ntkode.results import provenance, utc_now
from ntkode.results.storage import to_json

SIZES = ((64, 256), (256, 512), (256, 1024), (1000, 1000))
SIZES_ON_GPU = (*SIZES, (4000, 4096))
SOLVERS = ("rk4", "euler")
PEERS = ("loop", "jacrev", "vectors", "neural-tangents")
OURS = ("ntkode", "ntkode-spectrum", "pass")
ACCURACY = ("accuracy", "accuracy-ill")
# Bound on the difference of float32 kernels: rounding gives 1e-6 to 1e-5 with one large eigenvalue.
AGREEMENT = 1e-4


@dataclass
class Campaign:
    """One run of the benchmark.

    Attributes:
        options: options of the command line.
        core: core of the measurements; None: not pinned.
        console: console for progress.
        measurements: the rows so far, one per measurement.
    """

    options: argparse.Namespace
    core: int | None
    console: Console = field(default_factory=lambda: Console(width=max(Console().width, TERMINAL_WIDTH)))
    measurements: list[dict[str, Any]] = field(default_factory=list)

    def carry_out(self) -> None:
        """Measure everything; the files are updated after each measurement."""
        self.started = utc_now()
        sizes, solvers = self.options.sizes, self.options.solvers
        problems = [Problem(samples, width, solver) for samples, width in sizes for solver in solvers]
        contestants = (*OURS, *self.options.peers, *ACCURACY)
        total = 1 + len(problems) * len(contestants)
        with tempfile.TemporaryDirectory() as folder:
            self.arrays = Path(folder) / "arrays.npz"
            self._measure(problems[0], "peak", total)
            for problem in problems:
                np.savez(self.arrays, **draw(problem))  # type: ignore[arg-type]
                ours = None
                for contestant in contestants:
                    kernel = self._measure(problem, contestant, total, ours)
                    ours = kernel if contestant == "ntkode" else ours

    def failed(self) -> list[str]:
        """Errors: measurements of ntkode that failed, and kernels that differ."""
        ours = [row for row in self.measurements if row["contestant"] not in PEERS]
        wrong = [f"{row['contestant']}: {row['reason']}" for row in ours if row["status"] != "done"]
        for row in self.measurements:
            if row.get("difference", 0.0) > AGREEMENT:
                wrong.append(f"{row['contestant']}: its kernel differs by {row['difference']:.1e}")
        return wrong

    def _measure(
        self, problem: Problem, contestant: str, total: int, ours: np.ndarray | None = None
    ) -> np.ndarray | None:
        spec = asdict(problem) | {"contestant": contestant, "device": self.options.device}
        spec |= {"core": self.core, "arrays": str(self.arrays)}
        limits = Limits(self.options.limit_seconds, int(self.options.limit_gigabytes * 1e9))
        with self.console.status(f"{len(self.measurements) + 1}/{total} {problem} {contestant}"):
            outcome = run(spec, limits)
        row = {"contestant": contestant} | asdict(problem) | outcome.row
        if ours is not None and outcome.kernel is not None:
            row["difference"] = float(np.linalg.norm(outcome.kernel - ours) / np.linalg.norm(ours))
        self.measurements.append(row)
        self._print(row)
        self._write()
        return outcome.kernel

    def _print(self, row: dict[str, Any]) -> None:
        if len(self.measurements) == 1:
            self.console.print(terminal([HEADINGS]), style="bold")
        self.console.print(terminal([texts(row)]), style=None if row["status"] == "done" else "yellow")

    def _write(self) -> None:
        record = self.record()
        write_atomically(self.options.out, to_json(record, indent=1))
        write_atomically(self.options.out.with_suffix(".md"), markdown(record))

    def record(self) -> dict[str, Any]:
        """The complete record as JSON-compatible values."""
        source = provenance(seeds={"arrays": 0}, dataset={}, threads=1, device=self.options.device)
        kept = ("git", "packages", "python", "hardware", "device", "threads", "seeds")
        return {
            "started": self.started,
            "written": utc_now(),
            **{name: source[name] for name in kept},
            "protocol": {
                "features": FEATURES,
                "activation": "tanh",
                "repeats": REPEATS,
                "repeated_below_seconds": SHORT,
                "limit_seconds": self.options.limit_seconds,
                "limit_gigabytes": self.options.limit_gigabytes,
                "pinned": self.core is not None,
            },
            "measurements": self.measurements,
        }


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line into options."""
    parser = argparse.ArgumentParser(
        description="Time, memory and accuracy of ntkode's empirical NTK, compared with other methods.",
        epilog="The protocol is described in the docstring of this file.",
    )
    default = " ".join(f"{n},{width}" for n, width in SIZES)
    parser.add_argument(
        "--sizes", nargs="+", type=_size, metavar="N,n",
        help=f"samples and width of each kernel (default: {default}; on a GPU also 4000,4096)",
        default=argparse.SUPPRESS,
    )  # fmt: skip
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=SOLVERS, help="default: both")
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=PEERS, help="default: all; without a name: none"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs/perf/ntk.json"),
        help="JSON file; the tables go to an .md file of the same name (default: %(default)s)",
    )
    parser.add_argument(
        "--limit-seconds",
        type=float,
        default=300.0,
        metavar="S",
        help="per call (default: %(default)g)",
    )
    parser.add_argument(
        "--limit-gigabytes",
        type=float,
        default=20.0,
        metavar="GB",
        help="limit of resident memory per process (default: %(default)g)",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no GPU here")
    if not hasattr(options, "sizes"):
        options.sizes = SIZES if options.device == "cpu" else SIZES_ON_GPU
    return options


def _size(text: str) -> tuple[int, int]:
    samples, comma, width = text.partition(",")
    if not (comma and samples.isdecimal() and width.isdecimal() and int(samples) >= 2 and int(width) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not N,n as in 256,512, with N ≥ 2")
    return int(samples), int(width)


@one_message("ntk", "give another file, as in --out FILE")
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the files, print the table; exit code 1 if ntkode failed or kernels differ."""
    options = parsed(arguments)
    check_writable("--out", options.out)
    campaign = Campaign(options, one_core(options.device))
    try:
        campaign.carry_out()
    except KeyboardInterrupt:
        raise SystemExit(f"interrupted: {options.out} holds the measurements so far") from None
    print(f"\n{markdown(campaign.record())}\n{options.out}")
    if wrong := campaign.failed():
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
