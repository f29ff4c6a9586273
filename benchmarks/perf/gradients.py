"""Time, memory and error of one loss gradient of a Neural ODE, by gradient method and library.

python benchmarks/perf/gradients.py                                       all, about 10 minutes on two cores
python benchmarks/perf/gradients.py --small --out perf/gradients.json     tiny problems, in seconds

Protocol
--------
Gradient    of L = ½ Σ ‖f(x_i) − y_i‖² with respect to U, W and v, where h(0) = U x/√d, dh/dt = W φ(h)/√n on
            [0, 1] and f = v^T φ(h(1))/√n, at initialisation: d = 784, k = 10 outputs, entries N(0, 1), random
            inputs of norm √d, targets 0.3·N(0, 1), float32, whole batch. RK4 (the 3/8 rule), 10 steps.
Settings    kinks: relu, n = 256, N = 256 and 1000, five seeds. memory: tanh and softplus, n = N = 1000.
Contestants backprop            autograd through torchdiffeq's `odeint`, the baseline of all ratios
            adjoint             torchdiffeq's `odeint_adjoint` with the same backward solver
            checkpointed, reversible, kink_averaged    methods of ntkode
            torchdyn-autograd, torchdyn-adjoint        `ODEProblem` with rk4 (the classical rule) on the same
                                grid; its adjoint stores the states of the grid and steps along them
            torchode            `AutoDiffAdjoint`, dopri5 with 7 fixed steps: it has no method of order 4, and
                                this takes 43 evaluations, compared with 40 of RK4
            The peers use the same PyTorch and environment; `make perf-peers` installs them.
Error       ‖g − g_ref‖ / ‖g_ref‖ over all parameters, for every seed. Reference: `KinkAveraged` in float64
            on the same float32 numbers with 320 steps (N = 256) or 160 (N = 1000). Its error is estimated by
            the distance from a solve with half the steps, three times too high for a method of order 2.
            References are computed in parallel on all cores, before any timing.
Equality    checkpointed against backprop, both in float64, for the memory settings; at most 1e-12.
Measurement Each number comes from a fresh process with one thread on one core, seed 0, after a warm-up on a
            small problem. Seconds are the best of at least 3 calls, repeated for 2 s. Memory is measured for
            the memory settings: allocated is the peak of PyTorch's allocator above its level before the
            call, from the profiler; resident is the peak of the process in one call above its level before
            it. Both include the gradient, but not the model and its inputs. For resident memory, glibc runs
            with MALLOC_MMAP_THRESHOLD_=1000000, so that freed tensors return to the system. Without it
            (before glibc 2.38) gaps between aligned blocks remain at random: backprop was measured at 0.2 to
            0.9 GB and checkpointed at 0.6 to 1.3 GB, of which 0.2 and 0.09 GB were in use.
            Ratios compare numbers of the same run.
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

from gradient_peers import PEERS, environment
from gradient_tables import markdown, printed, target_line, targets
from gradient_worker import FEATURES, OURS, OUTPUTS, STEPS, Problem, installed
from rich.console import Console
from runner import HERE, Limits, on_all_cores, one_core, watched

from ntkode.cli.refusal import check_writable, one_message
from ntkode.files import write_atomically
from ntkode.report import report_console
from ntkode.results import provenance, utc_now
from ntkode.results.storage import to_json

SMOOTH = tuple(name for name in OURS if name != "kink_averaged")
LIMITS = Limits(seconds=300.0, memory=int(20e9))
# Short calls are repeated for at least this time.
LEAST_SECONDS = 2.0
# Makes glibc return freed tensors to the system.
RETURN_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1000000"}
# Largest difference of checkpointed from backprop in float64: same operations, different order of sums.
EQUALITY = 1e-12
COMMAND = [sys.executable, str(HERE / "gradient_worker.py")]


@dataclass(frozen=True)
class Setting:
    """One problem and its contestants.

    Attributes:
        problem: the problem with seed 0.
        contestants: the methods of ntkode to compare.
        reference_steps: number of steps of the reference for errors; None: errors are not measured.
        peers: whether the peers are compared as well.
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
        options: options of the command line.
        console: console for progress.
        results: the results so far, one per setting.
    """

    options: argparse.Namespace
    console: Console = field(default_factory=report_console)
    results: list[dict[str, Any]] = field(default_factory=list)

    def carry_out(self) -> None:
        """Measure everything; the files are updated after each measurement."""
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
        """Errors: measurements of ntkode that failed, and gradients that should be equal but differ."""
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
        # Longest first, to balance the cores.
        with_errors = [result for result in reversed(self.results) if result["reference_steps"]]
        tasks = [(result, seed) for result in with_errors for seed in range(self.options.seeds)]
        specs = [
            {
                "task": "errors",
                "environment": environment(),
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
                task = {"task": "memory", "contestant": name}
                row |= self._run(task, problem, core, RETURN_FREED_MEMORY)

    @property
    def _least_seconds(self) -> float:
        return 0.0 if self.options.small else LEAST_SECONDS

    def _run(
        self,
        task: dict[str, Any],
        problem: dict[str, Any],
        core: int | None,
        variables: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        place = {"problem": problem, "core": core, "environment": environment() | (variables or {})}
        return watched(task | place, LIMITS, COMMAND).row

    def _write(self) -> None:
        record = self.record()
        write_atomically(self.options.out, to_json(record, indent=1))
        write_atomically(self.options.out.with_suffix(".md"), markdown(record))

    def record(self) -> dict[str, Any]:
        """The complete record as JSON-compatible values."""
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
    """Parse the command line into options."""
    parser = argparse.ArgumentParser(
        description="Time, memory and error of one loss gradient by each gradient method.",
        epilog="The protocol is described in the docstring of this file.",
    )
    parser.add_argument("--repeats", type=_positive, default=3, help="timed calls (default: %(default)s)")
    parser.add_argument("--seeds", type=_positive, default=5, help="seeds for errors (default: %(default)s)")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=list(PEERS),
        default=list(PEERS),
        help="peers to compare (default: all; without a name: none)",
    )
    parser.add_argument("--small", action="store_true", help="tiny problems, as a quick test")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs/perf/gradients.json"),
        help="JSON file; the tables go to an .md file of the same name (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer ≥ 1")
    return int(text)


@one_message("gradients", "give another file, as in --out FILE")
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write files, print tables; exit code 1 if ntkode failed or equal gradients differ."""
    campaign = Campaign(parsed(arguments))
    check_writable("--out", campaign.options.out)
    try:
        campaign.carry_out()
    except KeyboardInterrupt:
        raise SystemExit(f"interrupted: {campaign.options.out} holds the measurements so far") from None
    for target in campaign.record()["targets"]:
        campaign.console.print(target_line(target))
    print(campaign.options.out)
    if wrong := campaign.failed():
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
