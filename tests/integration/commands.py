"""benchmarks/run.py as a command, and the records of its sweep `s`."""

import json
import subprocess
import sys
from pathlib import Path

from ntkode.results import RunRecord, SweepIndex

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"


def start(cwd, *arguments, **keywords):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **keywords,
    )


def run(cwd, *arguments, **keywords):
    """Run to the end; exit code, output, errors."""
    process = start(cwd, *arguments, **keywords)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def records(cwd):
    runs = SweepIndex(cwd / "results", "s").runs()
    return [RunRecord.open(cwd / "results", run_id) for run_id in runs.values()]


def statuses(cwd):
    return {record.run_id: record.status["status"] for record in records(cwd)}


def numbers(cwd):
    """By run, the history and summary without costs, as text, so that NaN equals NaN."""

    def text(row):
        return json.dumps({k: v for k, v in row.items() if not k.startswith("cost/")})

    return {r.run_id: [text(row) for row in [*r.history(), r.summary()]] for r in records(cwd)}
