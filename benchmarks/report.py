"""Redraw a sweep's table and picture from its stored results, computing nothing.

    python benchmarks/report.py [sweep=NAME] [results=results] [out=DIR]

By default: the newest sweep, into the sweep's own folder.
"""

import sys

from ntkode.command_line import parse_pairs
from ntkode.report import report_console, report_sweep
from ntkode.results import NoResults, SweepIndex

KEYS = {
    "sweep": "which sweep; the newest by default",
    "results": "the results folder",
    "out": "where table and picture go; the sweep's own folder by default",
}


def main(arguments: list[str]) -> None:
    """Report the sweep that `arguments` name; exits with a message where there is nothing to report."""
    settings, _ = parse_pairs(__doc__, KEYS, arguments)
    results = settings.get("results", "results")
    try:
        sweep = settings.get("sweep") or SweepIndex.newest(results)
        if sweep is None:
            raise NoResults(f"no sweep is stored in {results!r}; make one first: make run")
        report_sweep(results, sweep, report_console(), out=settings.get("out"))
    except (NoResults, ValueError) as error:
        sys.exit(f"report: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
