"""Recommend how to train a Neural ODE on a data set: activation, scale, width, solver, learning rate.

    python benchmarks/advise.py dataset=digits [budget=SECONDS] [size=small] [out=results/advice.json]

From the infinite-width theory, computed on the training split, and from stored runs. It ends with a command
to paste. No training is run to its end; the first dozen steps of the recommended one are timed.
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
from ntkode.advice.formatting import command, plain, shown
from ntkode.advice.measurements import Request
from ntkode.advice.prediction import Candidate
from ntkode.checks import positive
from ntkode.cli.choices import CONF
from ntkode.cli.pairs import parse_pairs, whole_pair
from ntkode.cli.resolvers import register_resolvers
from ntkode.integrate import SolverFailure
from ntkode.results import NoResults, load, write_atomically
from ntkode.training import Diverged

# Without elu, whose infinite-width kernel takes a minute or more at long horizons.
ACTIVATIONS = ("tanh", "softplus", "relu", "gelu", "silu", "erf", "sin")
GAMMAS = (0.5, 1.0, 1.5, 2.0, 3.0)
KEYS = {
    "budget": "seconds that the training may take on this machine; any unless given",
    "memory": "MiB that a gradient may allocate; any unless given",
    "activations": f"among which to choose; {','.join(ACTIVATIONS)} by default",
    "gammas": (
        f"sigma_w * T among which to choose, none above 4; {','.join(f'{g:g}' for g in GAMMAS)} by default"
    ),
    "rows": "training samples that the theory is computed on, at most; 500 by default",
    "distance": "of the kernel from its infinite-width limit that the width is to keep; 0.3 by default",
    "evidence": "a file of benchmarks/advice_evidence.py in place of the package's own",
    "results": "a folder of stored runs that are evidence beside it",
    "out": "a JSON file for the advice and its reasons",
}
OTHERS = "any override of benchmarks/run.py that is not advised on: dataset=…, size=…, n_train=…, dtype=…"
REFUSALS = (OSError, ValueError, NoResults, SolverFailure, Diverged, HydraException, OmegaConfBaseException)
# What the theory has no word on, or what is advised.
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


def main(arguments: list[str]) -> None:
    """Print the advice; exits with a message where none can be given."""
    settings, _ = parse_pairs(__doc__, KEYS, arguments, others=OTHERS)
    given = [f"{key}={value}" for key, value in settings.items() if key not in KEYS]
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    notes = Console(stderr=True, highlight=False)
    register_resolvers()
    quiet_lightning()
    out = Path(settings["out"]) if "out" in settings else None
    try:
        check(settings)
        request = requested(settings)
        if out is not None:
            check_writable(out)
        evidence = AdviceData.read(Path(settings.get("evidence", PACKAGED)))
        if "results" in settings:
            evidence = evidence.joined(collect(load(settings["results"])))
        with composer(CONF, given) as compose:
            advice = advise(request, compose, evidence, notes.print, watched(notes))
    except REFUSALS as error:
        sys.exit(f"advise: {error}")
    console.print(shown(advice, evidence))
    if out is not None:
        write_atomically(out, json.dumps(plain(advice, given, evidence), indent=1, ensure_ascii=False) + "\n")
        console.print(f"\n{out}")
    print(f"\n{command(advice, given)}")  # in one line, however narrow the terminal: it is to be pasted


def check_writable(out: Path) -> None:
    """Find out before the work, not after it.

    Raises:
        ValueError: a file of that name cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        new = not out.exists()
        out.touch()
        if new:
            out.unlink()
    except OSError as error:
        raise ValueError(f"out={out} cannot be written ({error})") from error


def quiet_lightning() -> None:
    """Keep its notices on devices and environments out of the advice."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


def watched(notes: Console) -> Callable[[Sequence[Candidate]], Iterable[Candidate]]:
    """A progress bar over the candidates; gone once they are done."""

    def bar(candidates: Sequence[Candidate]) -> Iterable[Candidate]:
        text = f"infinite-width theory, {len(candidates)} candidates"
        return track(candidates, text, console=notes, transient=True)

    return bar


def requested(settings: dict[str, str]) -> Request:
    """What the pairs ask for.

    Raises:
        ValueError: a value that is none.
    """
    activations = tuple(settings.get("activations", ",".join(ACTIVATIONS)).split(","))
    known = sorted(path.stem for path in (CONF / "activation").glob("*.yaml"))
    unknown = [name for name in activations if name not in known]
    if unknown:
        raise ValueError(
            f"activations={','.join(unknown)}: there is no such choice; one of {', '.join(known)}"
        )
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
    """The positive number that `text` is."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{key}={text} is no number, as in {key}=1") from None
    return positive(key, value)


def check(settings: dict[str, str]) -> None:
    """Refuse overrides of what is advised, and models and losses that the theory says nothing about.

    Raises:
        ValueError: there are such.
    """
    for given, value in settings.items():
        if given in KEYS:
            continue
        key = given.lstrip("+~")
        if any(key == name or key.startswith(f"{name}.") for name in ADVISED):
            hint = {
                "activation": "; activations=… says among which",
                "model.sigma_w": "; gammas=… says among which",
            }
            raise ValueError(f"{key}={value}: advise chooses this itself, leave it out{hint.get(key, '')}")
        meant = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.8)
        if meant:
            raise ValueError(f"{given}={value}: there is no such key, is it {meant[0]}={value}?")
        if key in NEEDED and value != NEEDED[key]:
            raise ValueError(f"{key}={value}: the theory speaks of {key}={NEEDED[key]} alone, leave it out")
        if key == "trainer" or key.startswith("trainer."):
            raise ValueError(
                f"{given}={value}: costs are measured on the CPU, in this process: leave it out, and add it "
                "to the command"
            )
        if "," in value and not value.startswith("["):
            raise ValueError(
                f"{key}={value}: advice is for one setting at a time, such as {key}={value.split(',')[0]}"
            )
