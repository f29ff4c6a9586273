"""Report stored results without computing anything: a sweep's table and picture, and a page over all sweeps.

    python benchmarks/report.py [results=results] [sweeps=NAME,NAME] [out=DIR]
    python benchmarks/report.py sweep=NAME [results=results] [out=DIR]

The first form redraws the table and picture of the newest sweep into that sweep's folder and writes the page:
one self-contained HTML file, with figures and tables as separate files. The second form redraws one sweep.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from ntkode.cli.omissions import printed_omissions
from ntkode.cli.pairs import folder_pair, parse_pairs
from ntkode.cli.refusal import one_message
from ntkode.report import report_console, report_sweep
from ntkode.report.page import write_page
from ntkode.results import PAGE, NoResults, SweepIndex

KEYS = {
    "sweep": "redraw only this sweep, and write no page",
    "sweeps": "sweeps on the page (default: the newest of each experiment or study)",
    "results": "results folder (default: results)",
    "out": f"output folder (default: RESULTS/{PAGE} for the page, the sweep's folder for a sweep)",
}


@one_message("report", "give other folders, as in out=FOLDER results=FOLDER", ValueError)
def main(arguments: list[str]) -> int:
    """Write the report; exits with a message if there is nothing to report.

    Returns:
        The exit code: 1 if runs are left out, or the page lacks a study.
    """
    settings, _ = parse_pairs(__doc__ or "", KEYS, arguments)
    if {"sweep", "sweeps"} <= settings.keys():
        sys.exit(
            "report: give sweep=NAME for one sweep's table and picture, or sweeps=NAME,NAME for the page"
        )
    console = report_console()
    with printed_omissions(console) as omissions:
        code = report(settings, console)
    return 1 if omissions else code


def report(settings: Mapping[str, str], console: Console) -> int:
    """Report what the `settings` of the command line ask for; the exit code."""
    results = settings.get("results", "results")
    out = folder_pair("out", settings["out"]) if "out" in settings else None
    if "sweep" in settings:
        report_sweep(results, settings["sweep"], console, out=out)
        return 0
    names = settings["sweeps"].split(",") if "sweeps" in settings else []
    newest = SweepIndex.newest(results)
    if newest is None:
        raise NoResults(f"no sweep is stored in {results!r}: run make run first")
    if not names:
        report_sweep(results, newest, console)
    return page(results, out or Path(results) / PAGE, names, console)


def page(results: str, out: Path, sweeps: list[str], console: Console) -> int:
    """Write the page and print a summary of its contents and omissions; the exit code."""
    contents = write_page(results, out, sweeps)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in contents.verdicts.items() if count)
    studies = f"{contents.sections} {'study' if contents.sections == 1 else 'studies'}"
    console.print(f"the page: {studies}{'; claims: ' + verdicts if verdicts else ''}", highlight=False)
    console.print(str(contents.path), style="dim", highlight=False, soft_wrap=True)
    for omission in contents.omissions:
        console.print(
            f"left out: {omission.what}: {omission.why}", style="red", highlight=False, markup=False
        )
    return 1 if contents.omissions else 0
