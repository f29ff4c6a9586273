"""Build a W&B workspace and a W&B report for the runs of a project.

    python benchmarks/dashboard.py [project=ntkode] [sweep=NAME] [entity=TEAM] [--dry-run]

The runs must be on the server (logger.mode=online, or `make sync` later). The API key is WANDB_API_KEY or the
one stored by `wandb login`. --dry-run needs neither.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ntkode.cli.pairs import parse_pairs
from ntkode.cli.refusal import one_message
from ntkode.files import write_atomically
from ntkode.tracking.dashboard import Dashboard, dashboard
from ntkode.tracking.wandb_server import ServerUnavailable, check_key, check_server, server_url

if TYPE_CHECKING:
    import wandb

KEYS = {
    "project": "W&B project (default: ntkode, as in conf/logger/wandb.yaml)",
    "sweep": "only the runs of this sweep, a W&B group (default: all runs)",
    "entity": "W&B user or team (default: that of the account)",
    "out": "file written by --dry-run (default: dashboard.json)",
}
FLAGS = {"--dry-run": "write the specification to a file and send nothing"}
REMEDY = "--dry-run writes the specification to a file"


@one_message("dashboard", "give another file, as in out=FILE", ValueError)
def main(arguments: list[str]) -> int:
    """Build workspace and report; the exit code is 0 on success."""
    settings, flags = parse_pairs(__doc__, KEYS, arguments, flags=FLAGS)
    project, sweep = settings.get("project", "ntkode"), settings.get("sweep")
    planned = dashboard(project, sweep, settings.get("entity", ""))
    if flags.dry_run:
        return write(planned, Path(settings.get("out", "dashboard.json")))
    try:
        url = server_url()
        check_key(url)
        check_server(url)
    except ServerUnavailable as error:
        print(f"would make the {planned.outline()}")
        print(f"dashboard: {error}; {REMEDY}", file=sys.stderr)
        return 1
    return save(project, sweep, settings.get("entity"))


def write(planned: Dashboard, path: Path) -> int:
    """Write the specification that would be sent to W&B."""
    write_atomically(path, json.dumps(planned.specification(), indent=1, ensure_ascii=False) + "\n")
    print(f"would make the {planned.outline()}")
    print(path)
    return 0


def save(project: str, sweep: str | None, entity: str | None) -> int:
    """Create workspace and report on the server and print their addresses."""
    import wandb

    try:
        account = wandb.Api(timeout=20)
        entity = entity or account.default_entity
        if not runs_there(account, f"{entity}/{project}", sweep):
            wanted = f"sweep={sweep}" if sweep else f"project={project}"
            sys.exit(f"dashboard: {entity}/{project} has no run of {wanted}: run make sync first")
        print(*dashboard(project, sweep, entity or "").save(), sep="\n")
    except (wandb.Error, ValueError, RuntimeError) as error:
        wanted = " ".join(f"{key}={value}" for key, value in (("project", project), ("entity", entity)))
        sys.exit(f"dashboard: W&B refuses {wanted}: {error}; {REMEDY}")
    return 0


def runs_there(account: "wandb.Api", path: str, sweep: str | None) -> bool:
    """Whether the project has a run (of `sweep`, if given)."""
    return len(account.runs(path, filters={"group": sweep} if sweep else None, per_page=1)) > 0
