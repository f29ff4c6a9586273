"""Write stored runs and their histories as Parquet and CSV.

    python benchmarks/export.py [sweep=NAME] [status=done] [activation=tanh,relu] [model.width=256] [out=DIR]

By default: the newest sweep, into that sweep's folder, as runs.* (one row per run) and history.* (one row per
recorded step).
"""

import json
from typing import Any

from rich.console import Console

from ntkode.cli.omissions import printed_omissions
from ntkode.cli.pairs import folder_pair, parse_pairs
from ntkode.cli.refusal import one_message
from ntkode.results import NoResults, SweepIndex, export

KEYS = {
    "sweep": "sweep to export (default: the newest)",
    "results": "results folder (default: results)",
    "status": "only runs with this status, such as done (several: done,diverged)",
    "format": "parquet, csv or parquet,csv (default: both)",
    "out": "output folder (default: the sweep's folder; export with --all)",
}
FLAGS = {"--all": "all runs of the results folder, whatever their sweep"}
OTHERS = "only runs whose config has this value or one of these: activation=tanh,relu model.width=256"


@one_message("export", "give other folders, as in out=FOLDER results=FOLDER", ValueError)
def main(arguments: list[str]) -> int:
    """Export the selected runs; exits with a message if there are none.

    Returns:
        The exit code: 1 if runs are left out.
    """
    settings, flags = parse_pairs(__doc__, KEYS, arguments, flags=FLAGS, others=OTHERS)
    results = settings.get("results", "results")
    where = {key: value_list(value) for key, value in settings.items() if key not in KEYS}
    sweep = None if flags.all else settings.get("sweep") or SweepIndex.newest(results)
    if sweep is None and not flags.all:
        raise NoResults(f"no sweep is stored in {results!r}: run make run first, or give --all")
    folder = settings.get("out") or ("export" if sweep is None else SweepIndex(results, sweep).directory)
    status = settings["status"].split(",") if "status" in settings else None
    formats = settings.get("format", "parquet,csv").split(",")
    with printed_omissions(Console(stderr=True)) as omissions:
        paths = export(
            results, folder_pair("out", folder), sweep, status=status, where=where, formats=formats
        )
    print(*paths, sep="\n")
    return 1 if omissions else 0


def value_list(text: str) -> list[Any]:
    """Split and parse a value: `256,512` gives `[256, 512]`, `tanh` gives `["tanh"]`."""
    return [_value(part) for part in text.split(",")]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
