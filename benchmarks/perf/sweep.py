"""Gain of the parallel launcher and overhead per job: `python benchmarks/perf/sweep.py`.

Protocol. The same sweep, one job per seed, runs twice in separate folders: with `hydra/launcher=basic` and
with `hydra/launcher=local`. A job trains on digits with cheap metrics, a fixed learning rate and no tracker.
Its number of steps fills the given seconds, according to a short trial. Measured:

- the wall time of both sweeps, including the final table; target: local ≤ 0.6 × basic on two cores, for jobs
  of at least 5 s;
- the overhead per job: the time from its line in the sweep's index to its end in its record, minus the
  seconds of its steps and metrics. The first job of each worker loads libraries and is excluded; target:
  median ≤ 1 s.

The machine must be idle; the result goes to docs/perf/sweep.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from ntkode.cli.refusal import check_writable, one_message
from ntkode.files import write_atomically
from ntkode.results import RunRecord, SweepIndex

ROOT = Path(__file__).resolve().parents[2]
JOB = ("size=small", "dataset=digits", "metrics=cheap", "logger=none", "optimizer.lr=0.001", "sweep=perf")
LAUNCHERS = ("basic", "local")
TRIAL_STEPS = 20


@one_message("sweep", "give another file, as in --out FILE")
def main() -> int:
    """Run both sweeps; print and store their times."""
    options = parsed(sys.argv[1:])
    check_writable("--out", options.out)
    with tempfile.TemporaryDirectory() as folder:
        steps = steps_for(options.seconds, Path(folder))
        swept = {name: sweep(name, options.jobs, steps, Path(folder) / name) for name in LAUNCHERS}
    ratio = swept["local"]["seconds"] / swept["basic"]["seconds"]
    result = {
        "cores": len(os.sched_getaffinity(0)),
        "jobs": options.jobs,
        "steps": steps,
        "seconds_asked": options.seconds,
        "local_to_basic": ratio,
        **swept,
    }
    write_atomically(options.out, json.dumps(result, indent=1) + "\n")
    for name, measured in swept.items():
        print(f"{name}: {measured['seconds']:.1f} s, overhead per job {measured['overhead_median']:.2f} s")
    print(f"local takes {ratio:.2f} of basic on {result['cores']} cores: {options.out}")
    return 0


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line into options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=24, help="jobs per sweep (default: 24)")
    parser.add_argument("--seconds", type=float, default=5.0, help="least seconds per job (default: 5)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "perf" / "sweep.json", help="JSON file")
    return parser.parse_args(arguments)


def steps_for(seconds: float, folder: Path) -> int:
    """Number of steps that take `seconds`, from the fastest step of a short job."""
    run("basic", 1, TRIAL_STEPS, folder / "trial")
    (record,) = records(folder / "trial")
    return math.ceil(seconds / min(row["cost/step_seconds"] for row in record.history()[:-1]))


def sweep(launcher: str, jobs: int, steps: int, folder: Path) -> dict[str, Any]:
    """Wall time of a sweep, and computing time and overhead of its jobs, in seconds."""
    seconds = run(launcher, jobs, steps, folder)
    cold = len(os.sched_getaffinity(0)) if launcher == "local" else 1
    warm = [overhead(record, folder) for record in records(folder)[cold:]]
    computed = [computing(record) for record in records(folder)]
    return {
        "seconds": seconds,
        "compute_least": min(computed),
        "overhead_median": statistics.median(warm),
        "overhead_most": max(warm),
    }


def run(launcher: str, jobs: int, steps: int, folder: Path) -> float:
    """Run a sweep into `folder`; returns its wall time in seconds.

    Raises:
        RuntimeError: a job is not done.
    """
    seeds = "seed=" + ",".join(str(seed) for seed in range(jobs))
    places = (f"results_dir={folder}", f"hydra/launcher={launcher}")
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "run.py"),
        "-m",
        seeds,
        f"steps={steps}",
        *JOB,
        *places,
    ]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began


def records(folder: Path) -> list[RunRecord]:
    """The records of a sweep in the order of its index."""
    return [RunRecord.open(folder, name) for name in submissions(folder)]


def submissions(folder: Path) -> dict[str, str]:
    """Run id → time of its line in the sweep's index, in that order."""
    lines = (SweepIndex(folder, "perf").directory / "index.jsonl").read_text().splitlines()
    return {entry["run_id"]: entry["added"] for entry in map(json.loads, lines)}


def computing(record: RunRecord) -> float:
    """Seconds of all steps of a run."""
    return sum(row.get("cost/step_seconds", 0.0) for row in record.history()[:-1])


def overhead(record: RunRecord, folder: Path) -> float:
    """Seconds of a run outside its steps and metrics."""
    ended = datetime.fromisoformat((record.status or {})["finished"])
    submitted = datetime.fromisoformat(submissions(folder)[record.run_id])
    measuring = max(row.get("cost/metric_seconds", 0.0) for row in record.history())
    return (ended - submitted).total_seconds() - computing(record) - measuring


if __name__ == "__main__":
    sys.exit(main())
