"""One loss gradient of a Neural ODE by each gradient method: time, memory and error, beside other libraries.

python benchmarks/perf/gradients.py                    all of it, in about 10 minutes on two cores
python benchmarks/perf/gradients.py --small --out perf/gradients.json     a first look, in seconds

Protocol
--------
Gradient    of L = ½ Σ ‖f(x_i) − y_i‖² by U, W and v of h(0) = U x/√d, dh/dt = W φ(h)/√n on [0, 1],
            f = v^T φ(h(1))/√n at initialisation: d = 784, k = 10 outputs, entries N(0, 1), random inputs of
            norm √d, targets 0.3·N(0, 1), float32, one call for the whole batch. RK4 (the 3/8 rule), 10 steps.
Settings    kinks: relu, n = 256, N = 256 and 1000, five seeds. memory: tanh and softplus, n = N = 1000.
Contestants backprop            autograd through torchdiffeq's `odeint`: what ratios are to
            adjoint             torchdiffeq's `odeint_adjoint` with the same solver backwards
            checkpointed, reversible, kink_averaged    ntkode's
            torchdyn-autograd, torchdyn-adjoint        its `ODEProblem` with rk4 (the classical rule) on the
                                same grid; its adjoint stores the states of the grid and steps along them
            torchode            `AutoDiffAdjoint`, dopri5 with 7 fixed steps: it has no method of order 4,
                                and that makes 43 evaluations, where RK4 makes 40
            The peers run on the same PyTorch in the same environment; `make perf-peers` installs them.
Error       ‖g − g_ref‖ / ‖g_ref‖ over all parameters, of every seed. Reference: `KinkAveraged` in float64
            on the same float32 numbers with 320 steps (N = 256) or 160 (N = 1000). Its own error is told as
            its distance from the same with half the steps, three times too high for a method of order 2.
            References run beside each other on all cores, before anything is timed.
Equality    checkpointed against backprop, both in float64, for the memory settings; 1e-12 is demanded.
Measuring   Each number has a fresh process, on one core with one thread, and seed 0, that has called on a
            small problem before. Seconds are the best of 3 calls, and of as many as fit into 2 s. Memory is
            measured for the memory settings: allocated is what PyTorch's allocator has handed out at most at
            a time, less what it had before, under its profiler; resident is the process's peak in one call
            less what was resident before it. Either holds the gradient itself, not the model and its inputs.
            For resident memory glibc gets MALLOC_MMAP_THRESHOLD_=1000000, so that freed tensors go back to
            the system. Without it (before glibc 2.38) gaps between aligned blocks stay, by chance: backprop
            was seen with 0.2 to 0.9 GB, checkpointed with 0.6 to 1.3 GB, of which 0.2 and 0.09 were in use.
            Ratios are between numbers of one run.
Targets     kink_averaged: at most a tenth of backprop's error (median of the seeds' ratios) at 2.5 times its
            time. checkpointed: at most 0.45 of backprop's peak, by either measure, at 1.5 times its time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gradient_peers import PEERS
from gradient_tables import markdown, printed, targets, told
from gradient_worker import FEATURES, OURS, OUTPUTS, STEPS, Problem, installed
from rich.console import Console
from runner import HERE, Limits, on_all_cores, one_core, watched

from ntkode.report import report_console
from ntkode.results import provenance, utc_now, write_atomically
from ntkode.results.storage import to_json

SMOOTH = tuple(name for name in OURS if name != "kink_averaged")
LIMITS = Limits(seconds=300.0, memory=int(20e9))
# Short calls are repeated for so long.
LEAST_SECONDS = 2.0
# Has glibc give freed tensors back to the system.
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "1000000"}
# Of checkpointed from backprop in float64: the same operations, sums over steps in another order.
EQUALITY = 1e-12
COMMAND = [sys.executable, str(HERE / "gradient_worker.py")]


@dataclass(frozen=True)
class Setting:
    """One comparison.

    Attributes:
        problem: of seed 0.
        contestants: of ntkode; peers join them.
        reference_steps: of the reference that errors are measured against; None where they are not.
        peers: whether peers join.
    """

    problem: Problem
    contestants: tuple[str, ...]
    reference_steps: int | None = None
    peers: bool = True


SETTINGS = (
    Setting(Problem("relu", 256, 256), tuple(OURS), 320),
    Setting(Problem("relu", 1000, 256), tuple(OURS), 160),
    Setting(Problem("tanh", 1000, 1000), SMOOTH),
    Setting(Problem("softplus", 1000, 1000), ("backprop", "checkpointed"), peers=False),
)
SMALL = (
    Setting(Problem("relu", 32, 32), ("backprop", "kink_averaged"), 80),
    Setting(Problem("tanh", 128, 48), ("backprop", "checkpointed"), peers=False),
)


@dataclass
class Campaign:
    """One run of the benchmark.

    Attributes:
        options: the command line's.
        console: where progress is told.
        results: one of each setting, so far.
    """

    options: argparse.Namespace
    console: Console = field(default_factory=report_console)
    results: list[dict[str, Any]] = field(default_factory=list)

    def carry_out(self) -> None:
        """Measure everything; the files hold what there is at any time."""
        self.started = utc_now()
        settings = SMALL if self.options.small else SETTINGS
        self.results = [self._prepared(setting) for setting in settings]
        self._measure_errors()
        core = one_core("cpu")
        for result in self.results:
            self._measure_equality(result, core)
            for row in result["contestants"]:
                self._measure_cost(result["problem"], row, core, memory=not result["reference_steps"])
                self._write()
            self.console.print(printed(result))

    def failed(self) -> list[str]:
        """What must not happen: a measurement of ntkode did not end, or equal gradients differ."""
        wrong = []
        for result in self.results:
            for part in (result["equality"], *result["errors"], *result["contestants"]):
                if part and part["status"] != "done" and part.get("contestant") not in PEERS:
                    wrong.append(f"{result['problem']} {part.get('contestant', '')}: {part['reason']}")
            difference = (result["equality"] or {}).get("difference", 0.0)
            if difference > EQUALITY:
                wrong.append(f"{result['problem']}: checkpointed is off by {difference:.1e}")
        return wrong

    def _prepared(self, setting: Setting) -> dict[str, Any]:
        names = setting.contestants + (tuple(self.options.peers) if setting.peers else ())
        return {
            "problem": asdict(setting.problem),
            "reference_steps": setting.reference_steps,
            "errors": [],
            "equality": None,
            "contestants": [{"contestant": name} for name in names],
        }

    def _measure_errors(self) -> None:
        # The longest first, so that no core is left with one of them at the end.
        asked = [result for result in reversed(self.results) if result["reference_steps"]]
        tasks = [(result, seed) for result in asked for seed in range(self.options.seeds)]
        specs = [
            {
                "task": "errors",
                "problem": result["problem"] | {"seed": seed},
                "reference_steps": result["reference_steps"],
                "contestants": [row["contestant"] for row in result["contestants"]],
            }
            for result, seed in tasks
        ]
        with self.console.status(f"{len(tasks)} float64 references"):
            for (result, seed), outcome in zip(tasks, on_all_cores(specs, LIMITS, COMMAND), strict=True):
                result["errors"].append({"seed": seed} | outcome.row)
        self._write()

    def _measure_equality(self, result: dict[str, Any], core: int | None) -> None:
        if not result["reference_steps"]:
            with self.console.status("checkpointed and backprop in float64"):
                result["equality"] = self._run({"task": "agreement"}, result["problem"], core)

    def _measure_cost(
        self, problem: dict[str, Any], row: dict[str, Any], core: int | None, *, memory: bool
    ) -> None:
        name = row["contestant"]
        if not installed(name):
            row |= {"status": "not installed", "reason": "make perf-peers installs it"}
            return
        with self.console.status(f"{problem} {name}"):
            task = {"task": "seconds", "contestant": name, "repeats": self.options.repeats}
            row |= self._run(task | {"least_seconds": self._least_seconds}, problem, core)
            if memory and row["status"] == "done":
                task = {"task": "memory", "contestant": name, "environment": GIVES_BACK}
                row |= self._run(task, problem, core)

    @property
    def _least_seconds(self) -> float:
        return 0.0 if self.options.small else LEAST_SECONDS

    def _run(self, task: dict[str, Any], problem: dict[str, Any], core: int | None) -> dict[str, Any]:
        return watched(task | {"problem": problem, "core": core}, LIMITS, COMMAND).row

    def _write(self) -> None:
        record = self.record()
        write_atomically(self.options.out, to_json(record, indent=1))
        write_atomically(self.options.out.with_suffix(".md"), markdown(record))

    def record(self) -> dict[str, Any]:
        """All that is known, as plain values."""
        source = provenance(seeds={"problems": self.options.seeds}, dataset={}, threads=1, device="cpu")
        kept = ("git", "packages", "python", "hardware", "device", "threads", "seeds")
        return {
            "started": self.started,
            "written": utc_now(),
            **{name: source[name] for name in kept},
            "peers": {PEERS[name].package: PEERS[name].version for name in self.options.peers},
            "protocol": {
                "features": FEATURES,
                "outputs": OUTPUTS,
                "solver": "rk4",
                "steps": STEPS,
                "repeats": self.options.repeats,
                "repeated_for_seconds": self._least_seconds,
                "limit_seconds": LIMITS.seconds,
            },
            "targets": targets(self.results),
            "settings": self.results,
        }


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Time, memory and error of one loss gradient by each gradient method.",
        epilog="The protocol is told at the top of this file.",
    )
    parser.add_argument("--repeats", type=_positive, default=3, help="timed calls (default: %(default)s)")
    parser.add_argument("--seeds", type=_positive, default=5, help="of the errors (default: %(default)s)")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=list(PEERS),
        default=list(PEERS),
        help="default: all; without a name: none",
    )
    parser.add_argument("--small", action="store_true", help="tiny problems, to see that it runs")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs/perf/gradients.json"),
        help="JSON file; the tables go beside it, as .md (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write files, print tables; exit code 1 where ntkode failed or equal gradients differ."""
    campaign = Campaign(parsed(arguments))
    try:
        campaign.carry_out()
    except KeyboardInterrupt:
        raise SystemExit(f"interrupted: {campaign.options.out} holds what was measured") from None
    for target in campaign.record()["targets"]:
        campaign.console.print(told(target))
    print(campaign.options.out)
    if wrong := campaign.failed():
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
