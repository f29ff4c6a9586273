"""Recommend how to train a Neural ODE on a data set: activation, scale, width, solver, learning rate.

    python benchmarks/advise.py dataset=digits [budget=SECONDS] [size=small] [out=results/advice.json]

Advice rests on infinite-width theory, evaluated on the training split, and on stored runs. The output ends
with a ready-to-run command. Nothing is trained, but the first dozen steps of the recommendation are timed.
"""

import difflib
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import track

from ntkode.advice.advice_data import PACKAGED, AdviceData
from ntkode.advice.advising import advise
from ntkode.advice.collecting import collect
from ntkode.advice.composing import composer
from ntkode.advice.formatting import command, plain, rendered
from ntkode.advice.measurements import Request
from ntkode.advice.prediction import Candidate
from ntkode.checks import positive
from ntkode.cli.choices import CONF
from ntkode.cli.overrides import misused, unknown
from ntkode.cli.pairs import parse_pairs, whole_pair
from ntkode.cli.refusal import check_writable, one_message
from ntkode.cli.resolvers import register_resolvers
from ntkode.files import write_atomically
from ntkode.integrate import SolverFailure
from ntkode.report.console import RecordConsole
from ntkode.results import load
from ntkode.training import Diverged

# elu is omitted: its infinite-width kernel takes a minute or more at long horizons.
ACTIVATIONS = ("tanh", "softplus", "relu", "gelu", "silu", "erf", "sin")
GAMMAS = (0.5, 1.0, 1.5, 2.0, 3.0)
KEYS = {
    "budget": "most seconds of training on this machine (default: no limit)",
    "memory": "most MiB that a gradient may allocate (default: no limit)",
    "activations": f"candidate activations (default: {','.join(ACTIVATIONS)})",
    "gammas": f"candidate values of sigma_w * T, at most 4 (default: {','.join(f'{g:g}' for g in GAMMAS)})",
    "rows": "most training samples used by the theory (default: 500)",
    "distance": "largest relative distance of the kernel from its infinite-width limit (default: 0.3)",
    "evidence": "file of benchmarks/advice_evidence.py (default: the packaged one)",
    "results": "folder of stored runs, used as additional evidence",
    "out": "JSON file for the advice and its reasons",
}
OTHERS = "any override of benchmarks/run.py that is not advised: dataset=…, size=…, n_train=…, dtype=…"
REFUSALS = (ValueError, SolverFailure, Diverged, HydraException, OmegaConfBaseException)
# Keys that the advice sets, or that the theory does not cover.
ADVISED = (
    "activation",
    "width",
    "solver",
    "gradient",
    "match",
    "model.width",
    "model.sigma_w",
    "optimizer",
    "metrics",
    "study",
    "experiment",
)
NEEDED = {"model": "neural_ode", "loss": "squared", "model.subtract_initial_output": "true"}


@one_message("advise", "give another file, as in out=FILE", *REFUSALS)
def main(arguments: list[str]) -> None:
    """Print the advice; exits with a message if none can be given."""
    settings, _ = parse_pairs(__doc__, KEYS, arguments, others=OTHERS)
    given = [f"{key}={value}" for key, value in settings.items() if key not in KEYS]
    console = RecordConsole(width=None if sys.stdout.isatty() else 150, highlight=False)
    notes = RecordConsole(stderr=True, highlight=False)
    register_resolvers()
    quiet_lightning()
    out = Path(settings["out"]) if "out" in settings else None
    check(settings)
    if message := unknown(given) or misused(given):
        print(f"advise: {message}", file=sys.stderr)
        sys.exit(2)
    request = requested(settings)
    if out is not None:
        check_writable("out", out)
    evidence = AdviceData.read(Path(settings.get("evidence", PACKAGED)))
    if "results" in settings:
        evidence = evidence.joined(collect(load(settings["results"])))
    with composer(CONF, given) as compose:
        advice = advise(request, compose, evidence, notes.print, progress_bar(notes))
    console.print(rendered(advice, evidence))
    if out is not None:
        write_atomically(out, json.dumps(plain(advice, given, evidence), indent=1, ensure_ascii=False) + "\n")
        console.print(f"\n{out}")
    print(f"\n{command(advice, given)}")  # one line, so that it can be pasted from a narrow terminal


def quiet_lightning() -> None:
    """Silence Lightning's notices on devices and environments."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


def progress_bar(notes: Console) -> Callable[[Sequence[Candidate]], Iterable[Candidate]]:
    """An iterator over the candidates with a progress bar, removed at the end."""

    def bar(candidates: Sequence[Candidate]) -> Iterable[Candidate]:
        text = f"infinite-width theory, {len(candidates)} candidates"
        return track(candidates, text, console=notes, transient=True)

    return bar


def requested(settings: dict[str, str]) -> Request:
    """The request that the command line describes.

    Raises:
        ValueError: an unknown activation, or a value that is not a number.
    """
    activations = tuple(settings.get("activations", ",".join(ACTIVATIONS)).split(","))
    known = sorted(path.stem for path in (CONF / "activation").glob("*.yaml"))
    unknown = [name for name in activations if name not in known]
    if unknown:
        raise ValueError(f"activations={','.join(unknown)}: no such choice; available: {', '.join(known)}")
    widths = sorted(int(path.stem.removeprefix("w")) for path in (CONF / "width").glob("w*.yaml"))
    limits: dict[str, Any] = {
        key: number(key, settings[key]) for key in ("budget", "memory", "distance") if key in settings
    }
    if "rows" in settings:
        limits["rows"] = whole_pair("rows", settings["rows"])
    gammas = (
        [number("gammas", part) for part in settings["gammas"].split(",")] if "gammas" in settings else GAMMAS
    )
    return Request(activations, tuple(gammas), tuple(widths), **limits)


def number(key: str, text: str) -> float:
    """The value of `key` as a positive number."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{key}={text} is not a number; try {key}=1") from None
    return positive(key, value)


def check(settings: dict[str, str]) -> None:
    """Refuse overrides of advised keys, and models and losses that the theory does not cover.

    Raises:
        ValueError: an override of either kind.
    """
    for given, value in settings.items():
        if given in KEYS:
            continue
        key = given.lstrip("+~")
        if any(key == name or key.startswith(f"{name}.") for name in ADVISED):
            hint = {
                "activation": "; activations=… sets the candidates",
                "model.sigma_w": "; gammas=… sets the candidates",
            }
            raise ValueError(f"{key}={value}: advise sets this key, leave it out{hint.get(key, '')}")
        meant = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.8)
        if meant:
            raise ValueError(f"{given}={value}: no such key (did you mean {meant[0]}={value}?)")
        if key in NEEDED and value != NEEDED[key]:
            raise ValueError(f"{key}={value}: the theory covers {key}={NEEDED[key]} only, leave it out")
        if key == "trainer" or key.startswith("trainer."):
            raise ValueError(
                f"{given}={value}: costs are measured on the CPU, in this process: leave it out here and add "
                "it to the printed command"
            )
        if "," in value and not value.startswith("["):
            raise ValueError(
                f"{key}={value}: advise takes one setting at a time, such as {key}={value.split(',')[0]}"
            )
