"""Redraw a sweep's table and picture from its stored results, computing nothing.

    python benchmarks/report.py [sweep=NAME] [results=results] [out=DIR]

By default: the newest sweep, into the sweep's own folder.
"""

import argparse
import sys

from ntkode.report import report_console, report_sweep
from ntkode.results import NoResults, SweepIndex

KEYS = ("sweep", "results", "out")


def parse(arguments: list[str]) -> dict[str, str]:
    """The `key=value` pairs of `arguments`; exits with a message on anything else."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", nargs="*", metavar="key=value", help=f"any of {', '.join(KEYS)}")
    settings = {}
    for pair in parser.parse_args(arguments).pairs:
        key, _, value = pair.partition("=")
        if key not in KEYS or not value:
            parser.error(f"cannot read {pair!r}: give {', '.join(f'{key}=…' for key in KEYS)}")
        settings[key] = value
    return settings


def main(arguments: list[str]) -> None:
    """Report the sweep that `arguments` name; exits with a message where there is nothing to report."""
    settings = parse(arguments)
    results = settings.get("results", "results")
    sweep = settings.get("sweep") or SweepIndex.newest(results)
    try:
        if sweep is None:
            raise NoResults(f"no sweep is stored in {results!r}; make one first: make run")
        report_sweep(results, sweep, report_console(), out=settings.get("out"))
    except (NoResults, ValueError) as error:
        sys.exit(f"report: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
