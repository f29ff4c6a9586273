"""Upload a sweep's offline W&B runs, once each.

    python benchmarks/sync.py [sweep=NAME] [results=results] [entity=TEAM] [--dry-run]

By default: the newest sweep. The API key is WANDB_API_KEY or the one stored by `wandb login`. Uploaded runs
are marked and not sent again; the records are not changed.
"""

import sys

from ntkode.cli.pairs import parse_pairs
from ntkode.cli.refusal import one_message
from ntkode.report.console import RecordConsole
from ntkode.tracking.wandb_sync import ServerUnavailable, offline_files, upload

KEYS = {
    "sweep": "sweep to upload (default: the newest)",
    "results": "results folder (default: results)",
    "entity": "W&B user or team (default: that of the run, or of the account)",
}
FLAGS = {"--dry-run": "list the files that would be sent, and send nothing"}


@one_message("sync", "give another folder, as in results=FOLDER", ValueError)
def main(arguments: list[str]) -> int:
    """Upload the sweep's offline runs; the exit code is 0 if nothing is left to send."""
    settings, flags = parse_pairs(__doc__, KEYS, arguments, flags=FLAGS)
    console = RecordConsole(soft_wrap=True)
    try:
        offline = offline_files(settings.get("results", "results"), settings.get("sweep"))
        console.print(str(offline), highlight=False)
        if flags.dry_run:
            console.print(*map(str, offline.waiting), sep="\n", highlight=False)
        if flags.dry_run or not offline.waiting:
            return 0
        done = upload(offline.waiting, console, entity=settings.get("entity"))
    except ServerUnavailable as error:
        sys.exit(f"sync: {error}. Unsent runs stay in the results folder: run this command again later")
    console.print(f"{len(done.sent)} sent, {len(done.failed)} not", highlight=False)
    if done.failed:
        console.print(done.output, markup=False, highlight=False, style="red")
        console.print(*map(str, done.failed), sep="\n", highlight=False)
    return 1 if done.failed else 0
