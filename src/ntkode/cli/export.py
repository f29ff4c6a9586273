"""Write stored runs and their histories as Parquet and CSV.

    python benchmarks/export.py [sweep=NAME] [status=done] [activation=tanh,relu] [model.width=256] [out=DIR]

By default: the newest sweep, into the sweep's own folder, as runs.* (a row a run) and history.* (a row a
step).
"""

import json
import sys
from typing import Any

from ntkode.cli.pairs import parse_pairs
from ntkode.results import NoResults, SweepIndex, export

KEYS = {
    "sweep": "which sweep; the newest by default",
    "results": "the results folder",
    "status": "only runs with this status, such as done (several: done,diverged)",
    "format": "parquet, csv or parquet,csv (the default)",
    "out": "the folder to write to; the sweep's own by default, export with --all",
}
FLAGS = {"--all": "all runs of the results folder, of whatever sweep"}
OTHERS = "only runs whose config has this value, or one of these: activation=tanh,relu model.width=256"


def main(arguments: list[str]) -> None:
    """Export what `arguments` ask for; exits with a message where there is nothing."""
    settings, flags = parse_pairs(__doc__, KEYS, arguments, flags=FLAGS, others=OTHERS)
    results = settings.get("results", "results")
    where = {key: value_list(value) for key, value in settings.items() if key not in KEYS}
    try:
        sweep = None if flags.all else settings.get("sweep") or SweepIndex.newest(results)
        if sweep is None and not flags.all:
            raise NoResults(f"no sweep is stored in {results!r}; make one first (make run), or give --all")
        out = settings.get("out") or ("export" if sweep is None else SweepIndex(results, sweep).directory)
        status = settings["status"].split(",") if "status" in settings else None
        formats = settings.get("format", "parquet,csv").split(",")
        paths = export(results, out, sweep, status=status, where=where, formats=formats)
    except (NoResults, ValueError) as error:
        sys.exit(f"export: {error}")
    print(*paths, sep="\n")


def value_list(text: str) -> list[Any]:
    """`[256, 512]` of `256,512`, `["tanh"]` of `tanh`."""
    return [_value(part) for part in text.split(",")]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
