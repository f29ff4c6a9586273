"""Upload a sweep's offline W&B runs, once each.

    python benchmarks/sync.py [sweep=NAME] [results=results] [entity=TEAM] [--dry-run]

By default: the newest sweep. The key is WANDB_API_KEY, or what `wandb login` stored. What has arrived is
marked and not sent again; the records stay as they are.
"""

import sys

from rich.console import Console

from ntkode.cli.pairs import parse_pairs
from ntkode.results import NoResults
from ntkode.tracking.wandb_sync import ServerUnavailable, offline_files, upload

KEYS = {
    "sweep": "which sweep; the newest by default",
    "results": "the results folder",
    "entity": "W&B user or team; that of the run, or the account's own, by default",
}
FLAGS = {"--dry-run": "list what would be sent, and send nothing"}


def main(arguments: list[str]) -> int:
    """Upload what `arguments` name; the exit code is 0 where nothing is left to send."""
    settings, flags = parse_pairs(__doc__, KEYS, arguments, flags=FLAGS)
    console = Console(soft_wrap=True)
    try:
        found = offline_files(settings.get("results", "results"), settings.get("sweep"))
        console.print(str(found), highlight=False)
        if flags.dry_run:
            console.print(*map(str, found.waiting), sep="\n", highlight=False)
        if flags.dry_run or not found.waiting:
            return 0
        done = upload(found.waiting, console, entity=settings.get("entity"))
    except (NoResults, ValueError) as error:
        sys.exit(f"sync: {error}")
    except ServerUnavailable as error:
        sys.exit(f"sync: {error}. What was not sent waits in the results folder: run this again later")
    console.print(f"{len(done.sent)} sent, {len(done.failed)} not", highlight=False)
    if done.failed:
        console.print(done.told, markup=False, highlight=False, style="red")
        console.print(*map(str, done.failed), sep="\n", highlight=False)
    return 1 if done.failed else 0
