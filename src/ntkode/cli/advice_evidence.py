"""Condense stored sweeps into the evidence used by benchmarks/advise.py.

    python benchmarks/advice_evidence.py [results=FOLDER,…] [sweeps=NAME,…] [perf=FILE] [out=FILE]

Defaults: the sweeps of conf/experiment/advice (`make evidence` runs them first), and the packaged file
src/ntkode/advice/advice_data.json, which is overwritten.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ntkode.advice.advice_data import PACKAGED, AdviceData
from ntkode.advice.collecting import collect, gradient_costs
from ntkode.cli.choices import ROOT
from ntkode.cli.omissions import refused_omissions
from ntkode.cli.pairs import parse_pairs
from ntkode.cli.refusal import check_writable, one_message
from ntkode.files import write_atomically
from ntkode.results import SweepIndex, load, sweep_name

PERF = ROOT / "docs" / "perf" / "gradients.json"
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment" / "advice").glob("*.yaml"))
SWEEPS = tuple(sweep_name([f"experiment=advice/{name}"]) for name in EXPERIMENTS)
KEYS = {
    "results": "results folders (default: results)",
    "sweeps": f"sweeps to read (default: {','.join(SWEEPS)})",
    "perf": "times of the gradient methods (default: docs/perf/gradients.json)",
    "out": "file to write (default: the packaged advice_data.json)",
}


@one_message("advice_evidence", "give others, as in out=FILE results=FOLDER perf=FILE", ValueError)
def main(arguments: list[str]) -> None:
    """Read the runs and write the evidence; exits with a message if the runs give none."""
    settings, _ = parse_pairs(__doc__, KEYS, arguments)
    out = Path(settings.get("out", PACKAGED))
    check_writable("out", out)
    wanted = settings["sweeps"].split(",") if "sweeps" in settings else SWEEPS
    folders = settings.get("results", "results").split(",")
    stored = [(folder, sweep) for folder in folders for sweep in SweepIndex.names(folder)]
    with refused_omissions():
        frames = [load(folder, sweep) for folder, sweep in stored if sweep in wanted]
    costs = gradient_costs(Path(settings.get("perf", PERF)))
    evidence = collect(pd.concat(frames).drop_duplicates("run_id")) if frames else AdviceData()
    sizes = {name: len(getattr(evidence, name)) for name in ("gradient", "tolerated")}
    missing = [name for name, size in sizes.items() if not size]
    if missing:
        sys.exit(
            f"advice_evidence: no done run of {', '.join(wanted)} gives {', '.join(missing)}: run make "
            "evidence, or name other sweeps by sweeps=…"
        )
    write_atomically(out, text(replace(evidence, costs=costs)))
    counts = ", ".join(f"{name} {size}" for name, size in sizes.items())
    print(f"{out}: {counts}, from {sum(source.runs for source in evidence.sources)} runs")


def text(evidence: AdviceData) -> str:
    """The evidence as JSON, one line per row."""
    parts = [
        f'"{part}": [\n' + ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows) + "\n ]"
        for part, rows in evidence.plain().items()
    ]
    return "{\n " + ",\n ".join(parts) + "\n}\n"
