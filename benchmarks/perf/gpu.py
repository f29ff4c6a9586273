"""Check ntkode on a GPU against the CPU, and measure its speed.

python benchmarks/perf/gpu.py                 on a machine with CUDA, in at most nine minutes
python benchmarks/perf/gpu.py --device cpu    the same code at small sizes, to rehearse

Parts, the most important first:
    tests     pytest -m gpu: models, gradients, kernels and runs against the CPU
    kernels   the peak of float32 and float64 matrix products; the NTK with N = n (RK4, 10 steps), beside
              per-sample autograd and vmap(jacrev); the NTK and its λ_min on more samples
    training  a training step by width: Lightning with and without metrics, with a compiled vector field, and
              a plain loop with torchdiffeq
    jobs      the sweep of `make run` with trainer=gpu, and trainer=ddp with one rank, as commands
Each part has a time limit; a measurement that exceeds it has the status `timeout`. The files are updated
after every measurement. The exit code is 1 if the tests or a measurement of ntkode fail.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_tables import markdown
from problem import Problem, draw
from rich.console import Console
from runner import Limits, end, run, watched

from ntkode.files import write_atomically
from ntkode.results import provenance, utc_now
from ntkode.results.storage import to_json

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LIMIT_SECONDS = 540.0
OUT = {"cuda": ROOT / "docs" / "perf" / "gpu.json", "cpu": ROOT / "outputs" / "gpu_rehearsal.json"}


@dataclass(frozen=True)
class Sizes:
    """The sizes of a device.

    Attributes:
        kernels: N = n of the kernels that are timed beside the peers.
        spectra: (N, n) of the kernels of which λ_min is computed.
        widths: of the training steps.
        samples: of the training steps.
        steps: training steps that are timed.
        dataset: of the training steps.
        some_widths: of the training steps with metrics or a compiled field.
        memory: bytes that a process may take on the host.
    """

    kernels: tuple[int, ...]
    spectra: tuple[tuple[int, int], ...]
    widths: tuple[int, ...]
    samples: int
    steps: int
    dataset: str
    some_widths: tuple[int, ...]
    memory: int = 64 * 10**9


SIZES = {
    "cuda": Sizes(
        kernels=(1000, 2048, 4096),
        spectra=((4000, 1024), (20_000, 1024)),
        widths=(256, 512, 1024, 2048, 4096),
        samples=1024,
        steps=50,
        dataset="mnist",
        some_widths=(256, 1024, 4096),
    ),
    "cpu": Sizes((24,), ((48, 16),), (16, 32), 32, 3, "digits", (16,)),
}
# Seconds of a peer's kernel, and of one contestant's training steps, after which its process is ended.
PEER_SECONDS, TRAINING_SECONDS = 60.0, 60.0


@dataclass(frozen=True)
class Measurement:
    """One measurement.

    Attributes:
        label: for progress and for the table of commands.
        measure: measures within the seconds that are left; returns the status and the values of the row.
        settings: further values of the row.
    """

    label: str
    measure: Callable[[float], dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Campaign:
    """One execution of the parts.

    Attributes:
        options: the command line's.
        console: for progress.
        rows: one per measurement, with its `part`, so far.
    """

    options: argparse.Namespace
    console: Console = field(default_factory=Console)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def carry_out(self) -> None:
        """Run the parts in order; a part that has used its share of the time skips the measurements left."""
        self.started, begin = utc_now(), time.monotonic()
        for name in self.options.parts:
            part_begin = time.monotonic()
            for measurement in PARTS[name](self):
                now = time.monotonic()
                left = min(
                    SHARES[name] * self.options.limit_seconds - (now - part_begin),
                    self.options.limit_seconds - (now - begin),
                )
                with self.console.status(f"{name}: {measurement.label}"):
                    skipped = {"status": "timeout", "reason": "no time left"}
                    row = self._row(measurement, left) if left > 0 else skipped
                self.rows.append(
                    {"part": name, "measurement": measurement.label} | measurement.settings | row
                )
                self._show(self.rows[-1])
                self._write()

    def _row(self, measurement: Measurement, left: float) -> dict[str, Any]:
        try:
            return measurement.measure(left)
        except Exception as error:  # the other measurements can still be made
            reason = (str(error).splitlines() or [""])[0]
            return {"status": "failed", "reason": f"{type(error).__name__}: {reason[:200]}"}

    def failed(self) -> list[str]:
        """A line for each measurement that failed, and for tests that did not end.

        What peers and torch.compile cannot do is a result, and other measurements may be left out.
        """
        ours = [row for row in self.rows if row.get("contestant") not in (*PEERS, "compiled")]
        return [
            f"{row['part']}, {row['measurement']}: {row['reason']}"
            for row in ours
            if row["status"] in ("failed", "memory") or (row["part"] == "tests" and row["status"] != "done")
        ]

    def record(self) -> dict[str, Any]:
        """The content of the JSON file."""
        facts = provenance(seeds={"arrays": 0}, dataset={}, threads=1, device=self.options.device)
        kept = ("git", "packages", "python", "hardware", "device")
        sizes = asdict(SIZES[self.options.device])
        return {
            "started": self.started,
            "written": utc_now(),
            **{name: facts[name] for name in kept},
            "limit_seconds": self.options.limit_seconds,
            "sizes": sizes,
            "rows": self.rows,
        }

    def _show(self, row: dict[str, Any]) -> None:
        taken = f"{row['seconds']:.3g} s" if "seconds" in row else row.get("reason", "")
        self.console.print(f"{row['part']:9} {row['measurement']:42} {row['status']:8} {taken}")

    def _write(self) -> None:
        record = self.record()
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.options.out, to_json(record, indent=1))
        write_atomically(self.options.out.with_suffix(".md"), markdown(record))


def tests(campaign: Campaign) -> Iterator[Measurement]:
    """The tests marked `gpu`, as one measurement."""

    def measure(seconds: float) -> dict[str, Any]:
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "--no-header"]
        command += [
            "-n",
            str(min(4, os.cpu_count() or 1)),
            "--dist",
            "loadscope",
            *(campaign.options.tests or ["tests/gpu"]),
        ]
        row = _command(command, seconds, {"NTKODE_TEST_DEVICE": campaign.options.device})
        output = row.pop("output")
        counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", output)}
        failures = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.M)
        return row | {"counts": counts, "failures": failures}

    yield Measurement("pytest -m gpu", measure)


def kernels(campaign: Campaign) -> Iterator[Measurement]:
    """The peak of matrix products, kernels beside the peers, and λ_min."""
    device, sizes = campaign.options.device, SIZES[campaign.options.device]

    def measure(problem: Problem, contestant: str) -> Measurement:
        def call(seconds: float) -> dict[str, Any]:
            with tempfile.TemporaryDirectory() as folder:
                arrays = Path(folder) / "arrays.npz"
                np.savez(arrays, **draw(problem))  # type: ignore[arg-type]
                spec = asdict(problem) | {"contestant": contestant, "device": device, "core": None}
                timed = min(seconds, PEER_SECONDS) if contestant in PEERS else seconds
                return run(spec | {"arrays": str(arrays)}, Limits(timed, sizes.memory, seconds)).row

        settings = {"contestant": contestant, **asdict(problem)}
        return Measurement(f"{problem} {contestant}", call, settings)

    first = Problem(sizes.kernels[0], sizes.kernels[0], "rk4")
    for contestant in ("peak", "peak-float64"):
        yield measure(first, contestant)
    squares = [Problem(size, size, "rk4") for size in sizes.kernels]
    for problem in squares:
        yield measure(problem, "ntkode")
    for samples, width in sizes.spectra:
        yield measure(Problem(samples, width, "rk4"), "ntkode-spectrum")
    yield measure(squares[0], "loop")  # its time is that of N solves and backward passes, for any width
    for problem in squares:
        yield measure(problem, "jacrev")


def training(campaign: Campaign) -> Iterator[Measurement]:
    """A training step by contestant, at several widths."""
    device, sizes = campaign.options.device, SIZES[campaign.options.device]
    command = [sys.executable, str(HERE / "training_worker.py")]
    for contestant in ("ntkode", "torchdiffeq", "metrics", "compiled"):
        widths = sizes.some_widths if contestant in ("metrics", "compiled") else sizes.widths
        settings = {"contestant": contestant, "samples": sizes.samples, "widths": widths}
        spec = settings | {"steps": sizes.steps, "dataset": sizes.dataset, "device": device, "core": None}

        def measure(seconds: float, spec: dict[str, Any] = spec) -> dict[str, Any]:
            limits = Limits(min(seconds, TRAINING_SECONDS), sizes.memory, seconds)
            return watched(spec, limits, command).row

        yield Measurement(contestant, measure, settings)


def jobs(campaign: Campaign) -> Iterator[Measurement]:
    """Whole commands: the sweep of `make run`, and DDP with one rank."""
    trainer = "gpu" if campaign.options.device == "cuda" else "cpu"
    size = [] if trainer == "gpu" else ["size=smoke", "width=w64", "dataset=digits", "metrics=cheap"]
    ddp = ["trainer=ddp", "trainer.devices=1", f"trainer.accelerator={trainer}", "metrics=cheap"]
    commands = {
        "main sweep": ["-m", "activation=tanh,softplus,relu", f"trainer={trainer}", *size],
        "trainer=ddp, one rank": ["size=smoke", "dataset=digits", *ddp],
    }
    for label, overrides in commands.items():

        def measure(seconds: float, overrides: list[str] = overrides) -> dict[str, Any]:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), *overrides, "logger=csv"]
                row = _command([*command, f"results_dir={folder}"], seconds, {})
                row.pop("output")
                return row

        yield Measurement(label, measure, {"overrides": " ".join(overrides)})


# Contestants of worker.py whose time is compared with ours.
PEERS = ("loop", "jacrev")
PARTS = {"tests": tests, "kernels": kernels, "training": training, "jobs": jobs}
# Largest share of the whole time for each part; what a part does not use is left for the others.
SHARES = {"tests": 0.3, "kernels": 0.5, "training": 0.35, "jobs": 0.35}


def _command(command: Sequence[str], seconds: float, environment: dict[str, str]) -> dict[str, Any]:
    """Run a command of the repository; its status, seconds, last line and output."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            process.wait(seconds)
            result: dict[str, Any] = {"seconds": time.perf_counter() - begin}
        except subprocess.TimeoutExpired:
            result = {"status": "timeout", "reason": f"> {seconds:.0f} s"}
        finally:
            end(process)
        file.seek(0)
        result["output"] = file.read().decode(errors="replace")
    if "status" in result:
        return result
    if process.returncode == 0:
        return {"status": "done", **result}
    return {"status": "failed", "reason": _reason(result["output"], process.returncode), **result}


def _reason(output: str, returncode: int) -> str:
    """What a command says of its failure: pytest's error, else the last line."""
    lines = output.strip().splitlines() or [f"exit code {returncode}"]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    return (errors or lines)[-1][:300]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=tuple(SIZES), default="cuda", help="default: %(default)s")
    parser.add_argument(
        "--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS), metavar="PART", help="default: all"
    )
    parser.add_argument(
        "--tests",
        nargs="*",
        default=[],
        metavar="TEST",
        help="tests to run, as pytest names them (default: tests/gpu)",
    )
    parser.add_argument(
        "--limit-seconds",
        type=_positive,
        default=LIMIT_SECONDS,
        metavar="S",
        help="seconds for all parts (default: %(default)g)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE",
        help="JSON file; the tables go into a .md file beside it (default: docs/perf/gpu.json on CUDA, "
        "outputs/gpu_rehearsal.json on the CPU)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error(
            f"PyTorch {torch.__version__} finds no CUDA device here; --device cpu rehearses at small sizes"
        )
    options.parts = list(dict.fromkeys(options.parts))
    options.out = options.out or OUT[options.device]
    if options.out.suffix != ".json":
        parser.error(f"--out {options.out}: the name must end in .json; the tables go beside it, as .md")
    try:
        _check_writable(options.out)
    except OSError as error:
        parser.error(f"--out {options.out} cannot be written: {error.strerror}")
    return options


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return seconds


def _check_writable(path: Path) -> None:
    """Fail before the measurements rather than after the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts and write the files; exit code 1 if `Campaign.failed` has lines."""
    campaign = Campaign(parsed(arguments))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what it has started, as Ctrl-C does
    try:
        campaign.carry_out()
    except KeyboardInterrupt:
        kept = f"{campaign.options.out} has the measurements so far" if campaign.rows else "nothing measured"
        raise SystemExit(f"interrupted: {kept}") from None
    print(campaign.options.out)
    if failed := campaign.failed():
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
