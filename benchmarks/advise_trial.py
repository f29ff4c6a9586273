"""Put advice to the test: train as recommended, by default, and by random choices, and compare test errors.

    python benchmarks/advise_trial.py advice=advice.json [random=6] [seeds=1,2,3] [draw=0] [out=trial.json]

All take the same number of steps at 1/λ_max, on the same draws of the data. That of the advice is none of
them, but draws overlap. The runs are stored as a sweep, advice_DATASET.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from ntkode.advice.composing import composer
from ntkode.advice.trial import run_trial, settings_of, trial_table, verdicts
from ntkode.checks import count
from ntkode.command_line import parse_pairs
from ntkode.results import NoResults, write_atomically
from run import CONF, register_resolvers

KEYS = {
    "advice": "what benchmarks/advise.py wrote with out=…",
    "random": "random configurations to compare with; 6 by default",
    "seeds": "of draw and initialisation; 1,2,3 by default",
    "draw": "the seed of the random configurations; 0 by default",
    "results": "the results folder",
    "out": "a JSON file for the comparison",
}


def main(arguments: list[str]) -> int:
    """Train, print the comparison; the exit code is 0 where the advised runs are all done."""
    given, _ = parse_pairs(__doc__, KEYS, arguments)
    register_resolvers()
    console = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    if "advice" not in given:
        sys.exit(
            "advise_trial: advice=FILE is missing: make it by python benchmarks/advise.py … out=advice.json"
        )
    try:
        advice = json.loads(Path(given["advice"]).read_text())
        seeds = [whole("seeds", seed) for seed in given.get("seeds", "1,2,3").split(",")]
        if advice["seed"] in seeds:
            raise ValueError(f"seeds={advice['seed']} is the draw that the advice was made on: leave it out")
        random, draw = (
            whole(key, given.get(key, default)) for key, default in (("random", "6"), ("draw", "0"))
        )
        settings = settings_of(advice, random, draw)
        with composer(CONF, advice["given"]) as compose:
            results = given.get("results", "results")
            runs = run_trial(settings, seeds, compose, results, f"advice_{advice['dataset']}")
    except KeyError as error:
        sys.exit(
            f"advise_trial: advice={given['advice']} is not what benchmarks/advise.py writes: no {error}"
        )
    except (OSError, ValueError, NoResults, HydraException, OmegaConfBaseException) as error:
        sys.exit(f"advise_trial: {error}")
    console.print(trial_table(runs))
    if "out" in given:
        told = {
            "advice": advice,
            "runs": runs.to_dict("records"),
            "verdicts": [asdict(v) for v in verdicts(runs)],
        }
        write_atomically(
            Path(given["out"]), json.dumps(told, indent=1, ensure_ascii=False, default=str) + "\n"
        )
        console.print(given["out"])
    advised = runs[runs["setting"] == "advised"]
    return 0 if len(advised) and (advised["status"] == "done").all() else 1


def whole(key: str, text: str) -> int:
    """The whole number that `text` is."""
    return count(key, int(text) if text.isdecimal() else text, least=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
