"""benchmarks/export.py, merge.py and dashboard.py as a user runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests.results.stored import store
from tests.tracking.wandb_fake import KEY, fake_server

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def results(tmp_path):
    for run_id, activation, width in (("a", "tanh", 8), ("b", "relu", 16), ("c", "relu", 8)):
        store(tmp_path / "results", run_id, activation=activation, width=width, sweep="s")
    store(tmp_path / "results", "d")
    return tmp_path / "results"


def exported(folder):
    return list(pd.read_parquet(folder / "runs.parquet")["run_id"])


def test_the_newest_sweep_is_exported_into_its_folder(script, results):
    done = script("export")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"results/sweeps/s/{name}" for name in ("runs.parquet", "runs.csv", "history.parquet", "history.csv")
    ]
    assert exported(results / "sweeps" / "s") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (["activation=relu", "model.width=8"], "c"),
        (["model.width=8,16", "activation=relu", "status=done"], "bc"),
        (["--all", "activation=tanh"], "ad"),
    ],
    ids=str,
)
def test_only_the_runs_asked_for_are_exported(script, results, arguments, runs):
    done = script("export", *arguments, "out=there", "format=parquet")
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["there/runs.parquet", "there/history.parquet"]
    assert exported(Path("there")) == list(runs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["activation=erf"], "none of 3 runs has activation=erf"),
        (["activaton=relu"], "did you mean activation?"),
        (["status=don"], "status=don"),
        (["format=xls"], "format=xls"),
        (["sweep=t"], "stored sweeps: s"),
        (["sweep=a/b"], "sweep='a/b'"),
        (["results=nowhere"], "no sweep is stored in 'nowhere'"),
        (["out=file"], "out=file: file is a file"),
    ],
    ids=str,
)
def test_nothing_to_export_is_one_clear_message(script, results, arguments, message):
    Path("file").touch()
    done = script("export", *arguments)
    assert done.stderr.startswith("export: ")
    assert message in done.stderr


def test_merge_tells_what_it_did(script, results):
    store(Path("theirs"), "a", scale=2.0)
    store(Path("theirs"), "e")
    done = script("merge", "theirs", "into=results")
    assert done.returncode == 1  # a conflict
    assert "1 copied, 0 replaced, 0 kept" in done.stdout
    assert "conflict: a: " in done.stdout
    assert (results / "e" / "status.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "into=results"], "no results folder"),
        (["results", "into=results"], "into another folder"),
        (["results", "into=file"], "into=file: file is a file"),
        (["results", "into=file/there"], "into=file/there: file is a file"),
    ],
    ids=str,
)
def test_folders_that_cannot_be_merged_are_named(script, results, arguments, message):
    Path("file").touch()
    done = script("merge", *arguments)
    assert done.stderr.startswith("merge: ")
    assert message in done.stderr


def test_merge_needs_a_target(script):
    done = script("merge", "one", "two")
    assert done.returncode == 2
    assert "into=results" in done.stderr


@pytest.mark.parametrize("name", ["export", "merge", "sync", "dashboard", "report"])
def test_help_lists_the_keys(script, name):
    done = script(name, "--help")
    assert done.returncode == 0
    assert "python benchmarks/" in done.stdout


def test_dashboard_dry_run_writes_the_specification(script):
    done = script("dashboard", "project=p", "sweep=s", "--dry-run", "out=spec.json")
    assert done.returncode == 0
    assert "NTK: 4 panels" in done.stdout
    assert set(json.loads(Path("spec.json").read_text())) == {"workspace", "report"}


def test_dashboard_refuses_a_name_it_cannot_look_up(script):
    done = script("dashboard", "project=a/b", "--dry-run")
    assert "project='a/b'" in done.stderr
    assert list(Path.cwd().iterdir()) == []


def dashboard(folder, url, *arguments, key=KEY):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    environment |= {"HOME": str(folder), "WANDB_BASE_URL": url} | ({"WANDB_API_KEY": key} if key else {})
    command = [sys.executable, str(SCRIPTS / "dashboard.py"), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_dashboard_without_a_server_describes_the_panels(tmp_path):
    done = dashboard(tmp_path, "http://127.0.0.1:9", "sweep=s")
    assert done.returncode == 1
    assert "would make the workspace and report 'ntkode s'" in done.stdout
    assert "cannot be reached" in done.stderr
    assert "--dry-run" in done.stderr


def test_dashboard_makes_a_view_and_a_report(tmp_path):
    with fake_server() as server:
        server.runs["a"] = {"groupName": "s"}
        made = dashboard(tmp_path, server.url, "project=p", "sweep=s")
        assert made.returncode == 0, made.stderr
        view, report = server.views
        assert [view["type"], report["type"]] == ["project-view", "runs"]
        assert {v["entityName"] for v in server.views} == {"me"}
        assert len(made.stdout.splitlines()) == 2
        assert all(line.startswith(f"{server.url}/me/p") for line in made.stdout.splitlines())
        none = dashboard(tmp_path, server.url, "sweep=t")
        assert none.returncode == 1
        assert "me/ntkode has no run of sweep=t: run make sync first" in none.stderr
        assert len(server.views) == 2
