"""Write the documentation's pages on the paper's studies from stored results: picture, verdicts, where from.

    python benchmarks/paper_pages.py [KEY=VALUE ...]

takes the overrides of the `benchmarks/paper.py` that computed the results. Each study that has come to its
verdicts gets `docs/paper/NAME.md`, `NAME.png` and small tables, `NAME_verdicts.csv` and `NAME_medians.csv` or
`NAME_slopes.csv`. Down to the line `MARKER` a page is written by hand and kept; the rest is made anew.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pandas as pd

from ntkode.cli.choices import CONF, description
from ntkode.cli.pairs import parse_pairs
from ntkode.cli.paper import EXPERIMENTS, Experiment
from ntkode.cli.resolvers import register_resolvers
from ntkode.report.claims.verdicts import numbers
from ntkode.report.statistics.intervals import Estimate
from ntkode.results import load

PAGES = CONF.parent / "docs" / "paper"
MARKER = "<!-- Above: written by hand, and kept. Below: made by benchmarks/paper_pages.py. -->"
HEADERS = ["claim", "measured (95 % interval)", "n", "expected", "verdict"]


def main(arguments: list[str]) -> int:
    """Write the pages; the exit code is 0 where there is at least one."""
    register_resolvers()
    settings, _ = parse_pairs(__doc__ or "", {}, arguments, others="an override of every experiment")
    overrides = tuple(f"{key}={value}" for key, value in settings.items())
    written = [write(Experiment(name, overrides)) for name in EXPERIMENTS]
    if not any(written):
        sys.exit("paper_pages: no study has verdicts yet: make paper")
    return 0


def write(experiment: Experiment) -> bool:
    """The page of one study; False where it has no verdicts yet."""
    verdicts = experiment.index.directory / f"{experiment.name}_verdicts.csv"
    if not verdicts.exists():
        return False
    for name, table in tables(experiment).items():
        shutil.copyfile(table, PAGES / name)
    [picture] = experiment.index.directory.glob("*.png")
    shutil.copyfile(picture, PAGES / f"{experiment.name}.png")
    path = PAGES / f"{experiment.name}.md"
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    above = old.partition(MARKER)[0] if MARKER in old else opening(experiment)
    made = results(experiment, pd.read_csv(verdicts))
    path.write_text(f"{above.rstrip()}\n\n{MARKER}\n\n{made}", encoding="utf-8")
    print(path)
    return True


def tables(experiment: Experiment) -> dict[str, Path]:
    """The small tables of a study, by the name that each gets: verdicts, and medians or slopes over seeds."""
    found = {
        f"{experiment.name}_{kind}.csv": next(experiment.index.directory.glob(f"*_{kind}.csv"), None)
        for kind in ("verdicts", "medians", "slopes")
    }
    return {name: path for name, path in found.items() if path is not None}


def opening(experiment: Experiment) -> str:
    """The part above `MARKER` of a page that nobody has written yet."""
    told = description(CONF / "experiment" / "paper" / f"{experiment.name}.yaml")
    return "\n\n".join(
        [
            f"# {experiment.name}",
            f"{told[:1].upper()}{told[1:]}.",
            f"```sh\npython benchmarks/run.py experiment=paper/{experiment.name}\n```",
            f"![{told}]({experiment.name}.png)",
        ]
    )


def results(experiment: Experiment, verdicts: pd.DataFrame) -> str:
    """The part below it, as Markdown."""
    counts = verdicts["verdict"].value_counts()
    told = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
    parts = ["## Verdicts", f"**{told}.**", table(verdicts), reasons(verdicts), origin(experiment)]
    return "\n\n".join(part for part in parts if part)


def table(verdicts: pd.DataFrame) -> str:
    """A row a claim."""
    lines = [HEADERS, ["---"] * len(HEADERS)]
    for _, row in verdicts.iterrows():
        estimate = Estimate(row["estimate"], row["low"], row["high"], row["replicates"])
        claim = f"{plain(row['statement'])}<br>*{plain(row['quantity'])}*"
        told = (numbers(estimate), str(row["replicates"]), plain(row["expected"]), f"**{row['verdict']}**")
        lines.append([claim, *told])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Text in which Markdown finds nothing to do."""
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", text.replace("<", "&lt;"))


def reasons(verdicts: pd.DataFrame) -> str:
    """Why inconclusive claims are."""
    undecided = verdicts[verdicts["verdict"] == "inconclusive"]
    return "\n".join(f"- `{row['claim']}`: {plain(row['reason'])}" for _, row in undecided.iterrows())


def origin(experiment: Experiment) -> str:
    """The runs, their ends, the code and the machine, as one sentence."""
    results_dir = experiment.index.directory.parent.parent
    runs = load(results_dir, experiment.index.directory.name)
    ends = ", ".join(f"{number} {status}" for status, number in runs["status"].value_counts().items())
    commits = ", ".join(sorted({str(commit)[:10] for commit in runs["git.commit"].dropna()}))
    record = next(record for record in experiment.records() if record.provenance())
    hardware = (record.provenance() or {})["hardware"]
    return (
        f"From {len(runs)} runs ({ends}), {runs['cost/run_seconds'].sum() / 60:.0f} core minutes in all"
        f"{trained(runs)}; commit {commits}; {hardware['cpu']}. "
        f"The numbers: {', '.join(f'[{name}]({name})' for name in tables(experiment))}.\n"
    )


def trained(runs: pd.DataFrame) -> str:
    """On how many samples and for how many steps; nothing where no run trains."""
    if "loss/train" not in runs or runs["loss/train"].isna().all():
        return ""
    values = {key: runs[f"config.{key}"].unique() for key in ("n_train", "steps")}
    return ", at " + ", ".join(f"{key}={' or '.join(map(str, own))}" for key, own in values.items())
