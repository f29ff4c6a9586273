"""A sweep of real runs whose files are damaged: the scripts name it, and running again gives the numbers.

tests/results/test_mutations.py does the same with small records and without the scripts. Here a quarter of
the mutations is tried on each file, a different one on the next; NTKODE_TEST_MUTATIONS=all tries all, in more
than ten minutes.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests.results import stored
from tests.results.mutations import MUTATIONS, shelved

from ntkode.results import RunRecord, SweepIndex, damage
from ntkode.results.integrity import FILES

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
SWEEP = (
    *("-m", "activation=tanh,relu", "size=smoke", "dataset=digits", "width=w64", "metrics=none"),
    *("logger=none", "steps=3", "optimizer.lr=0.01", "sweep=s", "hydra/launcher=basic"),
)
NO_PICTURE = {"MPLBACKEND": "Agg"}
STRIDE = 1 if os.environ.get("NTKODE_TEST_MUTATIONS") == "all" else 4
NAMES = (*FILES, "status.json", "index.jsonl")


def mutations(name):
    """The names and functions of the mutations to try on this file."""
    return list(MUTATIONS.items())[NAMES.index(name) % STRIDE :: STRIDE]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """The results folder of an undisturbed sweep."""
    folder = tmp_path_factory.mktemp("undisturbed")
    command = [sys.executable, str(SCRIPT), *SWEEP]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=os.environ | NO_PICTURE)
    return folder / "results"


def numbers(folder):
    """By run, the history and summary without costs (see `stored.numbers`)."""
    run_ids = SweepIndex(folder, "s").runs().values()
    return {run_id: stored.numbers(RunRecord.open(folder, run_id)) for run_id in run_ids}


def exported(folder):
    """By run, the rows of the exported history without costs, if there are any."""
    path = folder / "history.parquet"
    table = pd.read_parquet(path).filter(regex="^(?!cost/)") if path.exists() else pd.DataFrame()
    return (
        {}
        if table.empty
        else {run: rows.reset_index(drop=True).to_json() for run, rows in table.groupby("run_id")}
    )


def check_scripts(script, folder, truth, how):
    """Report, export and merge what is stored: no traceback, nothing but true numbers, nothing silent."""
    shutil.rmtree("out", ignore_errors=True)
    for name, *arguments in (
        ("report", "sweeps=s", "out=out"),
        ("export", "sweep=s", "out=out"),
        ("merge", str(folder), "into=out/merged"),
    ):
        done = script(name, *arguments)
        text = done.stdout + done.stderr
        assert "Traceback" not in text, (how, name)
        assert "unreadable" in text or "skipped" in text or done.returncode == 1, (how, name, text)
        assert done.returncode == 1, (how, name, text)
    for run_id, rows in exported(Path("out")).items():
        assert rows == truth[run_id], how
    for record in map(RunRecord, Path("out/merged").glob("digits-*")):
        assert damage(record) is None, how


@pytest.mark.parametrize("name", NAMES[:-1])
def test_damage_in_a_run(script, shelf, tmp_path, name):
    expected = numbers(shelf)
    script("export", f"results={shelf}", "sweep=s", "out=truth")
    truth = exported(Path("truth"))
    for how, mutate in mutations(name):
        folder = shelved(tmp_path / "results", shelf)
        [run_id, _] = SweepIndex(folder, "s").runs().values()
        mutate(folder / run_id / name)
        check_scripts(script, folder, truth, how)
        again = script("run", *SWEEP)
        assert "Traceback" not in again.stdout + again.stderr, how
        if how == "a folder":  # nothing is deleted that ntkode has not stored
            assert again.returncode == 1
            continue
        assert again.returncode == 0, (how, again.stdout, again.stderr)
        assert numbers(folder) == expected, how


def test_damage_in_an_index(script, shelf, tmp_path):
    expected = numbers(shelf)
    for how, mutate in mutations("index.jsonl"):
        folder = shelved(tmp_path / "results", shelf)
        mutate(folder / "sweeps" / "s" / "index.jsonl")
        for name, *arguments in (("report", "sweep=s"), ("export", "sweep=s"), ("merge", folder, "into=m")):
            done = script(name, *arguments)
            assert "Traceback" not in done.stdout + done.stderr, (how, name)
        again = script("run", *SWEEP)
        assert "Traceback" not in again.stdout + again.stderr, how
        if how in ("a folder", "a link"):
            assert again.returncode == 2
            continue
        assert again.returncode == 0, (how, again.stdout, again.stderr)
        assert numbers(folder) == expected, how
