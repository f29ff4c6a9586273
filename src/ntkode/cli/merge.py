"""Copy the runs of several results folders, such as those of other machines, into one.

    python benchmarks/merge.py SOURCE [SOURCE …] into=results

Only complete records are copied; the sources are not changed. If a run is stored twice, the done record is
kept. Corrupt records, and runs whose stored numbers differ, are listed, and the exit code is 1.
"""

import argparse

from ntkode.cli.pairs import folder_pair
from ntkode.cli.refusal import one_message
from ntkode.results import merge
from ntkode.results.foreign_text import visible


@one_message("merge", "give other folders, as in into=FOLDER", ValueError)
def main(arguments: list[str]) -> int:
    """Merge the folders; the exit code is 0 if every record is complete and none conflicts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="results folder")
    parser.add_argument("target", metavar="into=DIR", help="folder to copy into")
    parsed = parser.parse_args(arguments)
    key, _, target = parsed.target.partition("=")
    if key != "into" or not target:
        parser.error(f"the last argument must be into=DIR, such as into=results; got {parsed.target!r}")
    merged = merge(parsed.sources, folder_pair("into", target))
    print(visible(str(merged)))
    return 1 if merged.conflicts or merged.skipped else 0
