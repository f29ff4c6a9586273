"""Test advice: train the recommended, the default and random configurations, and compare test errors.

    python benchmarks/advise_trial.py advice=FILE [random=6] [seeds=1,2,3] [draw=0] [out=FILE]

All train for the same number of steps at 1/λ_max, on the same draws of the data. The draw used for the advice
is excluded, but draws share samples. The runs are stored as the sweep advice_DATASET.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ntkode.advice.composing import composer
from ntkode.advice.trial import run_trial, settings_of, trial_table, verdicts
from ntkode.cli.choices import CONF
from ntkode.cli.pairs import parse_pairs, whole_pair
from ntkode.cli.refusal import check_writable, one_message
from ntkode.cli.resolvers import register_resolvers
from ntkode.execution.slurm import leave_task
from ntkode.files import prepare_folder, write_atomically
from ntkode.report.console import RecordConsole

KEYS = {
    "advice": "file written by benchmarks/advise.py with out=…",
    "random": "number of random configurations (default: 6)",
    "seeds": "seeds of data draw and initialisation (default: 1,2,3)",
    "draw": "seed of the random configurations (default: 0)",
    "results": "results folder (default: results)",
    "out": "JSON file for the comparison",
}


@one_message(
    "advise_trial",
    "give others, as in out=FILE results=FOLDER",
    ValueError,
    HydraException,
    OmegaConfBaseException,
)
def main(arguments: list[str]) -> int:
    """Train and print the comparison; the exit code is 0 if all advised runs are done."""
    given, _ = parse_pairs(__doc__, KEYS, arguments)
    register_resolvers()
    leave_task()
    console = RecordConsole(width=None if sys.stdout.isatty() else 170, highlight=False)
    if "advice" not in given:
        sys.exit("advise_trial: advice=FILE is missing; python benchmarks/advise.py … out=FILE writes it")
    advice = read_advice(Path(given["advice"]))
    seeds = [whole_pair("seeds", seed, least=0) for seed in given.get("seeds", "1,2,3").split(",")]
    random = whole_pair("random", given.get("random", "6"), least=0)
    settings = settings_of(advice, random, whole_pair("draw", given.get("draw", "0"), least=0))
    results = given.get("results", "results")
    prepare_folder(Path(results))
    if "out" in given:
        check_writable("out", Path(given["out"]))
    with composer(CONF, advice["given"]) as compose:
        for seed in seeds:
            if compose([f"seed={seed}"])["dataset"].get("seed") == advice["draw"]:
                raise ValueError(f"seeds={seed} is the draw used for the advice: leave it out")
        runs = run_trial(settings, seeds, compose, results, f"advice_{advice['dataset']}")
    console.print(trial_table(runs))
    if "out" in given:
        comparison = {
            "advice": advice,
            "runs": runs.to_dict("records"),
            "verdicts": [asdict(v) for v in verdicts(runs)],
        }
        write_atomically(
            Path(given["out"]), json.dumps(comparison, indent=1, ensure_ascii=False, default=str) + "\n"
        )
        console.print(given["out"])
    advised = runs[runs["setting"] == "advised"]
    return 0 if len(advised) and (advised["status"] == "done").all() else 1


def read_advice(path: Path) -> dict[str, Any]:
    """The advice that benchmarks/advise.py stored at `path`.

    Raises:
        ValueError: the file cannot be read or holds no advice.
    """
    try:
        advice = json.loads(path.read_text())
        missing = {"given", "overrides", "steps", "asked", "draw", "dataset"} - set(advice)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"advice={path} cannot be read ({error})") from error
    if missing or not isinstance(advice, dict):
        raise ValueError(f"advice={path} holds no advice of benchmarks/advise.py: write it with out=…")
    return advice
