"""benchmarks/run.py as a user runs it: sweeps with failures, again, interrupted, and mistyped."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from matplotlib import get_cachedir
from matplotlib.image import imread
from tests.results.stored import numbers

from ntkode.cli import overrides
from ntkode.execution import run_job
from ntkode.results import RunRecord, SweepIndex

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
SMALL = ("size=smoke", "n_train=16", "n_test=16", "dataset=digits", "width=w64")
SWEEP = ("activation=tanh,quadratic", "-m", "metrics=none,full", *SMALL)  # flags may stand anywhere
ENDLESS = (*SMALL, "logger=none", "metrics=none", "optimizer.lr=0.01", "steps=1000000")
KEY = "0123456789abcdef" * 2 + "01234567"  # as long as a real one


def run(cwd, *arguments):
    environment = os.environ | {"WANDB_API_KEY": KEY, "HOME": str(cwd.parent / "home")}
    environment.pop("COLUMNS", None)  # set by pytest's readline, whatever the terminal
    environment["MPLCONFIGDIR"] = get_cachedir()  # building its font cache takes seconds
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def records(cwd):
    """The records of the newest sweep by job."""
    results = cwd / "results"
    runs = SweepIndex(results, SweepIndex.newest(results)).runs()
    return {job: RunRecord.open(results, run_id) for job, run_id in runs.items()}


def statuses(cwd):
    return {job: record.status["status"] for job, record in records(cwd).items()}


# ------------------------------------------------------------------ a sweep in which jobs fail


@pytest.fixture(scope="module")
def cwd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    for name in ("home", "cwd"):
        (folder / name).mkdir()
    return folder / "cwd"


@pytest.fixture(scope="module")
def first(cwd):
    """A sweep of two jobs that train and two whose ODE blows up."""
    return run(cwd, *SWEEP)


def test_failing_jobs_let_the_others_finish(first, cwd):
    by_job = statuses(cwd)
    assert len(by_job) == 4
    for job, status in by_job.items():
        assert status == ("done" if "tanh" in job else "solver_failed")
    assert first.returncode == 1
    assert first.stderr == ""


def test_the_table_holds_status_message_and_remedy(first):
    table = first.stdout.partition("─\n")[2]
    assert len(re.findall(r"^(tanh|quadratic) .*(done|solver_failed) *$", table, re.M)) == 4
    unwrapped = " ".join(table.split())
    assert "non-finite state at t=1 → model.horizon=0.25" in unwrapped


def test_the_picture_is_at_the_printed_path(first, cwd):
    csv, png, pdf = re.findall(r"^results/sweeps/\S+$", first.stdout, re.M)
    assert csv.endswith(".csv")
    assert imread(cwd / png)[..., :3].std() > 0.05  # not blank
    assert (cwd / pdf).read_bytes().startswith(b"%PDF")


def test_lines_replace_progress_bars(first, cwd):
    lines = first.stdout[: first.stdout.index("final")].splitlines()[:-1]  # above the table's head
    lines_of = {job: [line for line in lines if line.startswith(f"{job}  ")] for job in records(cwd)}
    assert sum(map(len, lines_of.values())) == len(lines)  # nothing else is printed
    for job, status in statuses(cwd).items():
        assert ("✓ done" if status == "done" else f"✗ {status}") in lines_of[job][-1]


def test_only_results_are_left_behind(first, cwd):
    assert [path.name for path in cwd.iterdir()] == ["results"]
    stored = {path.name for path in (cwd / "results").iterdir()}
    assert stored == {"sweeps"} | {record.run_id for record in records(cwd).values()}


def test_a_key_is_neither_printed_nor_stored(first, cwd):
    assert KEY not in first.stdout
    files = [path for path in cwd.parent.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_metrics_change_no_loss(first, cwd):
    by_job = records(cwd)
    none, full = (
        next(record for job, record in by_job.items() if "tanh" in job and f"metrics={metrics}" in job)
        for metrics in ("none", "full")
    )
    assert "ntk/lambda_min" in full.history()[0]
    assert set(none.history()[0]) == {"step", "loss/train", "loss/ratio"}
    assert [row["loss/train"] for row in none.history()] == [row["loss/train"] for row in full.history()]
    assert none.summary()["learning_rate"] == full.summary()["learning_rate"]


@pytest.fixture(scope="module")
def again(first, cwd):
    """The result of the same command run again, with the files' times before and after."""

    def times():
        paths = (path for record in records(cwd).values() for path in record.directory.iterdir())
        return {path: path.stat().st_mtime_ns for path in paths}

    before = times()
    return run(cwd, *SWEEP), before, times()


def test_stored_runs_are_kept_and_reported(again):
    process, before, after = again
    assert after == before
    assert len(re.findall("✓ stored", process.stdout)) == 2
    assert "2 of these failed earlier and were not run again: rerun=failed" in process.stdout
    assert process.returncode == 1


def test_a_rerun_gives_the_same_numbers_bit_for_bit(again, cwd, composed):
    job, record = next((j, r) for j, r in records(cwd).items() if "tanh" in j and "full" in j)
    before, started = numbers(record), record.status["started"]
    # As a single job, in another process, with another logger.
    config = composed(*job.split(), "rerun=all", "logger=csv", f"results_dir={cwd / 'results'}")
    assert run_job(config, job) == "done"
    assert record.status["started"] > started
    assert numbers(record) == before
    assert (record.directory / "metrics.csv").exists()


# ------------------------------------------------------------------ Ctrl-C


def interrupt(cwd, arguments, ready):
    """Run until `ready()`, interrupt the process group; exit code, output, errors, surviving children."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a separate process group, as in a terminal
    )
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:  # an endless sweep left running would slow all other tests
        os.killpg(process.pid, signal.SIGKILL)
        raise
    _, alive = psutil.wait_procs(children, timeout=10)
    return process.returncode, out, err, alive


def test_an_interrupted_sweep_reports_its_stored_runs(tmp_path):
    at_once = min(2, len(os.sched_getaffinity(0)))
    code, out, err, alive = interrupt(
        tmp_path,
        ("-m", "activation=tanh,relu,softplus", *ENDLESS),
        lambda: len(list(tmp_path.glob("results/*/history.jsonl"))) >= at_once,
    )
    assert code == 128 + signal.SIGINT
    assert list(statuses(tmp_path).values()) == ["interrupted"] * at_once
    assert re.search(r"final .*loss.*status", out, re.S)
    assert "interrupted" in out.splitlines()[-1]
    assert err == ""
    assert alive == []


def test_an_interrupt_before_the_job_has_begun(tmp_path):
    code, out, err, alive = interrupt(tmp_path, ENDLESS, lambda: list(tmp_path.glob("results/*/config.json")))
    assert code == 128 + signal.SIGINT
    assert list(statuses(tmp_path).values()) == ["interrupted"]
    assert "interrupted" in out.splitlines()[-1]
    assert err == ""
    assert alive == []


# ------------------------------------------------------------------ what stops before the first job


@pytest.mark.parametrize(
    ("arguments", "named", "remedy"),
    [
        ("model.nosuchkey=1", "nosuchkey", "not in struct"),
        ("-m solver=euler,dopri5 solver.steps=10", "solver.steps", "not in struct"),
    ],
)
def test_a_config_that_does_not_compose_runs_no_job(script, tmp_path, arguments, named, remedy):
    process = script("run", *arguments.split(), *SMALL)
    assert process.returncode != 0
    assert named in process.stderr
    assert remedy in process.stderr
    assert "Traceback" not in process.stderr
    assert list(tmp_path.glob("results/*/status.json")) == []


@pytest.fixture
def no_extras(entry, monkeypatch):
    """As in an installation without the optional packages."""
    plugins = {choice: ("not_installed", extra) for choice, (_, extra) in overrides.EXTRAS.items()}
    monkeypatch.setattr(overrides, "EXTRAS", plugins)


@pytest.mark.parametrize(
    ("arguments", "named", "remedy"),
    [
        ("width=300", "width=300", ["width=w256", "model.width=300"]),
        ("-m width=64,300", "width=64,300", ["width=w256", "model.width=64,300"]),
        ("--cfg job width=300", "width=300", ["width=w256"]),
        ("activation=3", "activation=3", ["tanh"]),
        ("-m experiment=a,b", "experiment=a,b", ["experiment=a"]),
        ("-m activation=tanh,rleu", "no choice rleu", ["did you mean relu?"]),
        ("experiment=paper/widht_ntk", "widht_ntk", ["did you mean paper/width_ntk?"]),
        ("nosuchkey=1", "nosuchkey", ["--help"]),
        ("+lr=0.1", "no key lr", ["--help"]),
        ("activatoin=tanh", "activatoin", ["did you mean activation?"]),
        ("activation=tanh,relu", "activation=tanh,relu", ["add -m"]),
        ("model.sigma_w=interval(1,2)", "model.sigma_w=interval(1,2)", ["add -m"]),
        ("model=resnet solver.steps=20", "model=resnet", ["model.depth"]),
        ("rerun=al", "rerun=al", ["rerun=failed"]),
        ("-m model.match=ntk,hidden", "model.match", ["match=ntk"]),
        ("sweep=a/b", "sweep='a/b'", ["letters"]),
        ("-m hydra/launcher=slurm seed=0,1", "hydra/launcher=slurm", ["pip install 'ntkode[slurm]'"]),
        ("-m hydra/launcher=ray_node seed=0,1", "hydra/launcher=ray_node", ["pip install 'ntkode[ray]'"]),
        ("hydra/sweeper=optuna_search", "hydra/sweeper=optuna_search", ["pip install 'ntkode[optuna]'"]),
        ("data_root=nowhere", "data_root=nowhere", ["mnist/"]),
        ("results_dir=", "results_dir=", ["results_dir=FOLDER"]),
        ("results_dir=''", "results_dir=''", ["results_dir=FOLDER"]),
        ("results_dir=null", "results_dir=null", ["results_dir=FOLDER"]),
    ],
)
@pytest.mark.usefixtures("no_extras")
def test_a_misused_key_is_one_line(entry, monkeypatch, capsys, tmp_path, arguments, named, remedy):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments.split()])
    assert entry.main() == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert named in errors[0]
    assert all(text in errors[0] for text in remedy)
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_results_folder_is_one_line(entry, monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["run.py", *SMALL, f"results_dir={tmp_path / 'file' / 'results'}"])
    assert entry.main() == 2
    [error] = capsys.readouterr().err.splitlines()
    assert "cannot be written to" in error
    assert "set another" in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "activation=tanh,relu"],
        ["--multirun", "activation=tanh,relu"],
        ["hydra.mode=MULTIRUN", "activation=tanh,relu"],
        ["experiment=paper/width_ntk", "seed=0,1"],
        ["results_dir='one, two'"],
        ['results_dir="one, two"'],
        ["some.list=[1,2]"],
        ["some.dict={a:1,b:2}"],
        ["~activation"],
        ["activation=("],
    ],
)
def test_commas_that_need_no_multirun_flag(entry, arguments):
    assert overrides.single_run_sweep(arguments) is None


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("results_dir=here", "here"),
        ("results_dir=my results", "my results"),
        ("results_dir='my (old) results'", "my (old) results"),
        ("results_dir=${oc.env:NTKODE_TEST_FOLDER}/results", "/there/results"),
        ("results_dir=(", None),
        ("sweep=s", None),
    ],
)
def test_the_results_folder_is_read_as_hydra_reads_it(entry, monkeypatch, typed, value):
    monkeypatch.setenv("NTKODE_TEST_FOLDER", "/there")
    assert overrides.given("results_dir", ["activation=tanh,relu", typed]) == value


def test_cfg_shows_the_config_and_runs_nothing(script, tmp_path):
    process = script("run", "--cfg", "job", "activation=relu", "model.width=300")
    assert process.returncode == 0
    config = yaml.safe_load(process.stdout)
    assert config["activation"]["name"] == "relu"
    assert config["model"]["width"] == 300
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("axis", ["model=resnet,mlp_ode", "sweep=a,b", "match=none,ntk"])
def test_an_axis_is_no_single_value(entry, axis):
    assert overrides.given(axis.split("=")[0], [axis]) is None
    assert overrides.misused(["-m", axis]) is None


def test_secrets_in_overrides_are_stored_nowhere(script, tmp_path):
    secrets = ("hunter2hunter2", "pa:ss-word")
    overrides = (f"+dataset.api_token={secrets[0]}", f"+dataset.url=https://me:{secrets[1]}@host", "seed=0,1")
    done = script("run", "-m", *SMALL, *overrides, "logger=none", "hydra/launcher=basic")
    assert "unexpected keyword" in done.stdout
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert {"multirun.yaml", "index.jsonl", "config.yaml", "log.txt"} <= {path.name for path in files}
    texts = {path: path.read_bytes().decode(errors="replace") for path in files}
    texts |= {path.relative_to(tmp_path): str(path.relative_to(tmp_path)) for path in files}
    texts |= {"stdout": done.stdout, "stderr": done.stderr}
    found = [path for path, text in texts.items() if any(secret in text for secret in secrets)]
    assert not found
