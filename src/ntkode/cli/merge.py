"""Copy the runs of results folders, of other machines say, into one.

    python benchmarks/merge.py SOURCE [SOURCE …] into=results

Whole records alone are copied; the sources stay as they are. Of two records of one run the done one stays.
What is corrupt, and runs whose numbers differ from those of the same run, are named; the exit code is then 1.
"""

import argparse
import sys

from ntkode.results import NoResults, merge


def main(arguments: list[str]) -> int:
    """Merge what `arguments` name; the exit code is 0 where every record was whole and none in conflict."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="a results folder")
    parser.add_argument("target", metavar="into=DIR", help="the folder to copy into")
    parsed = parser.parse_args(arguments)
    key, _, target = parsed.target.partition("=")
    if key != "into" or not target:
        parser.error(f"the last argument is the folder to copy into, as into=results; got {parsed.target!r}")
    try:
        merged = merge(parsed.sources, target)
    except (NoResults, ValueError) as error:
        sys.exit(f"merge: {error}")
    print(merged)
    return 1 if merged.conflicts or merged.skipped else 0
