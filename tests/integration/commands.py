"""benchmarks/run.py as a command, and the records of its sweep `s`."""

import subprocess
import sys
from pathlib import Path

from tests.results import stored

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
    """By run, the history and summary without costs (see `stored.numbers`)."""
    return {record.run_id: stored.numbers(record) for record in records(cwd)}
