"""Show stored results, computing nothing: a sweep's table and picture, and a page over all sweeps.

    python benchmarks/report.py [results=results] [sweeps=NAME,NAME] [out=DIR]
    python benchmarks/report.py sweep=NAME [results=results] [out=DIR]

The first redraws table and picture of the newest sweep into its own folder, and writes the page: one HTML
file that needs nothing else to be viewed, with figures and tables beside it. The second redraws one sweep.
"""

import sys
from pathlib import Path

from rich.console import Console

from ntkode.cli.pairs import parse_pairs
from ntkode.report import report_console, report_sweep
from ntkode.report.page import write_page
from ntkode.results import PAGE, NoResults, SweepIndex

KEYS = {
    "sweep": "redraw this sweep alone, and write no page",
    "sweeps": "which sweeps the page shows; by default the newest of each experiment or study",
    "results": "the results folder",
    "out": f"where files go; by default the page to RESULTS/{PAGE}, a sweep's to the sweep's own folder",
}


def main(arguments: list[str]) -> int:
    """Report what `arguments` name; exits with a message where there is nothing to report.

    Returns:
        The exit code: 1 where the page lacks a study or runs.
    """
    settings, _ = parse_pairs(__doc__ or "", KEYS, arguments)
    results, out = settings.get("results", "results"), settings.get("out")
    if {"sweep", "sweeps"} <= settings.keys():
        sys.exit(
            "report: give sweep=NAME for one sweep's table and picture, or sweeps=NAME,NAME for the page"
        )
    console = report_console()
    try:
        if "sweep" in settings:
            report_sweep(results, settings["sweep"], console, out=out)
            return 0
        names = settings["sweeps"].split(",") if "sweeps" in settings else []
        newest = SweepIndex.newest(results)
        if newest is None:
            raise NoResults(f"no sweep is stored in {results!r}; make one first: make run")
        if not names:
            report_sweep(results, newest, console)
        return page(results, Path(out) if out else Path(results) / PAGE, names, console)
    except (NoResults, ValueError) as error:
        sys.exit(f"report: {error}")


def page(results: str, out: Path, sweeps: list[str], console: Console) -> int:
    """Write the page and say what is on it, and what is not."""
    written = write_page(results, out, sweeps)
    told = ", ".join(f"{count} {verdict}" for verdict, count in written.verdicts.items() if count)
    studies = f"{written.sections} {'study' if written.sections == 1 else 'studies'}"
    console.print(f"the page: {studies}{'; claims: ' + told if told else ''}", highlight=False)
    console.print(str(written.path), style="dim", highlight=False, soft_wrap=True)
    for omission in written.omissions:
        console.print(
            f"left out: {omission.what}: {omission.why}", style="red", highlight=False, markup=False
        )
    return 1 if written.omissions else 0
