"""Time to load stored runs: generates a results folder and reads it.

    python benchmarks/perf/loading.py [runs=1000] [rows=200] [repeats=3]

The rows resemble those of the standard metrics: six values per step, about twenty more at every tenth step.
Prints the best of the repeats; the target at the default sizes is 3 s for `load` and `load_history` together.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ntkode.cli.pairs import parse_pairs
from ntkode.results import RunRecord, SweepIndex, load, load_history, run_id, summarise

KEYS = {
    "runs": "number of runs (default: 1000)",
    "rows": "rows per run (default: 200)",
    "repeats": "timed repeats (default: 3)",
}
EVERY_STEP = ("loss/train", "loss/ratio", "loss/predicted_ratio", "loss/local_rate", "cost/step_seconds")
SOMETIMES = tuple(f"{part}/{number}" for part in ("ntk", "gradient", "params") for number in range(7))
SWEEP = "generated"


def main(arguments: list[str]) -> None:
    """Generate the runs, time the readers and print the times."""
    settings, _ = parse_pairs(__doc__, KEYS, arguments)
    runs, rows, repeats = (
        int(settings.get(key, value)) for key, value in (("runs", "1000"), ("rows", "200"), ("repeats", "3"))
    )
    with tempfile.TemporaryDirectory() as folder:
        generating, _ = seconds(lambda: generate(Path(folder), runs, rows))
        print(f"generated {runs} runs of {rows} rows in {generating:.2f} s")
        calls: dict[str, Callable[[], Any]] = {
            "load": lambda: load(folder),
            "load, status and config": lambda: load(folder, status="done", where={"activation": "relu"}),
            "load, one sweep": lambda: load(folder, SWEEP),
            "load_history": lambda: load_history(folder),
        }
        for name, call in calls.items():
            wall, processor = min(seconds(call) for _ in range(repeats))
            print(f"{name:<24} {wall:6.2f} s, processor time {processor:.2f} s")


def generate(folder: Path, runs: int, rows: int) -> None:
    """Store `runs` runs of one sweep through `RunRecord`."""
    draw = random.Random(0)
    index = SweepIndex(folder, SWEEP)
    for seed in range(runs):
        config = config_of(seed, draw)
        record = RunRecord.open(folder, run_id(config))
        index.add(record.run_id, f"seed={seed}", seed)
        record.begin(config)
        for step in range(rows):
            names = EVERY_STEP + (SOMETIMES if step % 10 == 0 else ())
            record.append({"step": step, **{name: draw.random() for name in names}})
        record.write_summary(summarise(record.history()))
        record.finish("done")


def config_of(seed: int, draw: random.Random) -> dict[str, Any]:
    """A config of realistic size."""
    metric = {"_target_": "ntkode.metrics.NTK", "every": 10, "samples": 64}
    return {
        "choices": {"dataset": "mnist", "activation": draw.choice(["tanh", "relu"]), "solver": "rk4"},
        "model": {"_target_": "ntkode.models.NeuralODE", "width": 256, "horizon": 1.0, "sigma_w": 1.0},
        "optimizer": {"_target_": "ntkode.training.GradientDescent", "lr": "auto", "lr_factor": 1.0},
        "metrics": {f"metric_{number}": metric for number in range(8)},
        "seed": seed,
        "steps": 200,
    }


def seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """Wall time and processor time of a call, in seconds; they differ on a shared machine."""
    began, computed = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - computed


if __name__ == "__main__":
    main(sys.argv[1:])
