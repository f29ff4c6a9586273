"""Time and accuracy of the infinite-width kernels, on one core.

python benchmarks/perf/infinite_width.py                     all cases, N = 1000
python benchmarks/perf/infinite_width.py --rows 300 --activations tanh relu --out perf

Protocol. Inputs are standard normal with 20 features, float64: rows of all distinct norms, or scaled to
norm √d. A case is one call of `infinite_width_kernels` (σ = 1, T = 1, all pairs of N rows, with diagonal) in
a fresh process with one thread, so that no cached table or rule exists. The first call is timed, without the
start of the interpreter and imports. Pin the process to a core (`taskset -c 1`). The error is the largest
difference, over 12 rows, from the same kernels with every pair solved at tolerance 1e-10 (relative above
one, like the tolerance); the error estimated by the call is listed as well. `repeats` calls in separate
processes give the median time and its range. Limits: 15 s for closed-form φ, 120 s for other analytic φ at
1e-6, 3 s for equal norms at 1e-8.
"""

import argparse
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table

FEATURES = 20
CHECKED_ROWS = 12


@dataclass(frozen=True)
class Case:
    """One setting of the benchmark; `limit_seconds` is its time limit at N = 1000."""

    activation: str
    norms: str
    tolerance: float
    limit_seconds: float


CASES = (
    *(
        Case(name, "distinct", 1e-6, 15.0)
        for name in ("relu", "erf", "gelu", "sin", "leaky_relu", "gaussian")
    ),
    *(Case(name, "distinct", 1e-6, 120.0) for name in ("tanh", "softplus", "silu", "sigmoid")),
    *(Case(name, "equal", 1e-8, 3.0) for name in ("tanh", "softplus", "erf", "gelu", "silu", "sin", "relu")),
)


def inputs(rows: int, norms: str) -> torch.Tensor:
    """The inputs of a case, shape (rows, FEATURES)."""
    x = torch.randn(rows, FEATURES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x / x.norm(dim=1, keepdim=True) * FEATURES**0.5 if norms == "equal" else x


def measure(case: Case, rows: int) -> dict[str, float]:
    """Seconds and errors of the first call in this process."""
    from ntkode.ntk import infinite_width_kernels

    torch.set_num_threads(1)
    x = inputs(rows, case.norms)
    torch.linalg.eigvalsh(torch.eye(64, dtype=torch.float64) @ torch.ones(64, 64, dtype=torch.float64))
    start = time.perf_counter()
    kernels = infinite_width_kernels(x, activation=case.activation, tolerance=case.tolerance)
    seconds = time.perf_counter() - start
    some = torch.arange(0, rows, max(1, rows // CHECKED_ROWS))[:CHECKED_ROWS]
    exact = infinite_width_kernels(x[some], activation=case.activation, tolerance=1e-10)
    scale = exact.ntk.abs().clamp_min(1.0)
    differences = [
        float(((kernel[some][:, some] - expected).abs() / scale).max())
        for kernel, expected in ((kernels.nngp, exact.nngp), (kernels.ntk, exact.ntk))
    ]
    return {
        "seconds": seconds,
        "error": max(differences),
        "estimated_error": kernels.error,
        "peak_memory_bytes": float(psutil.Process().memory_info().rss),
    }


def run(case: Case, rows: int, repeats: int) -> dict[str, Any]:
    """The case's record: settings, median time and range, largest errors."""
    context = multiprocessing.get_context("spawn")
    measurements = []
    for _ in range(repeats):
        with context.Pool(1) as pool:
            measurements.append(pool.apply(measure, (case, rows)))
    seconds = [one["seconds"] for one in measurements]
    largest = {key: max(one[key] for one in measurements) for key in measurements[0] if key != "seconds"}
    times = {"seconds": statistics.median(seconds), "seconds_range": [min(seconds), max(seconds)]}
    return asdict(case) | {"rows": rows, "repeats": repeats} | times | largest


def hardware() -> dict[str, Any]:
    """The hardware and software of the measurements."""
    affinity = len(psutil.Process().cpu_affinity() or []) if hasattr(psutil.Process, "cpu_affinity") else None
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores_allowed": affinity,
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
    }


def table(records: Sequence[dict[str, Any]]) -> Table:
    """A table with one row per case."""
    rows = Table("activation", "norms", "tolerance", "seconds", "limit", "error", "estimated")
    for r in records:
        rows.add_row(
            r["activation"],
            r["norms"],
            f"{r['tolerance']:.0e}",
            f"{r['seconds']:.2f}",
            f"{r['limit_seconds']:g}",
            f"{r['error']:.1e}",
            f"{r['estimated_error']:.1e}",
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, measure, print the table and store the records."""
    parser = argparse.ArgumentParser(description="Time and accuracy of the infinite-width kernels.")
    parser.add_argument("--rows", type=int, default=1000, help="N (default: 1000)")
    parser.add_argument("--repeats", type=int, default=3, help="calls per case (default: 3)")
    parser.add_argument("--activations", nargs="*", help="only these activations")
    parser.add_argument("--out", type=Path, default=Path("docs/perf"), help="folder for the JSON file")
    options = parser.parse_args(arguments)
    selected = [case for case in CASES if not options.activations or case.activation in options.activations]
    if not selected:
        parser.error(f"no case has an activation among {', '.join(options.activations)}")
    path = options.out / "infinite_width.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [run(case, options.rows, options.repeats) for case in selected]
    Console().print(table(records))
    path.write_text(json.dumps({"hardware": hardware(), "cases": records}, indent=2) + "\n")
    print(path)


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    from ntkode.cli.refusal import one_message  # here: the measured processes import this module

    one_message("infinite_width", "give another folder, as in --out FOLDER")(main)()
