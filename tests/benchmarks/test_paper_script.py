"""`python benchmarks/paper.py`: runs the experiments in turn, resumes, and prints all verdicts."""

import os
from datetime import datetime, timedelta

import pytest

from ntkode.report.claims.claims import Verdict
from ntkode.results import RunRecord, SweepIndex
from ntkode.results.status import write_status

COARSE = "++metrics.gradient.max_steps=20"  # refining the reference of relu's gradient takes seconds
SMALL = ("n_train=24", "n_test=10", "steps=4", "model.width=12", "dataset=digits", "seed=0")
TINY = (*SMALL, COARSE, "hydra/launcher=basic")
ONE = "only=activation_gradient"


@pytest.fixture(scope="module")
def paper(entry):
    """The module of benchmarks/paper.py, with the resolvers that conf/ needs."""
    from ntkode.cli import paper

    return paper


@pytest.mark.integration  # three sweeps, each in a process of its own
def test_runs_prints_all_verdicts_and_resumes(script):
    overrides = ("only=activation_gradient,activation_polynomial", *TINY, "match=none")
    done = script("paper", *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    output = done.stdout
    assert "paper/activation_gradient, 1 of 2: 2 jobs, about a minute left" in output
    assert "paper/activation_polynomial, 2 of 2: 3 jobs" in output
    verdicts = output.partition("the verdicts of all studies")[2]
    assert "activation_gradient" in verdicts
    assert "activation_polynomial" in verdicts
    again = script("paper", *overrides, "only=activation_gradient")
    assert again.returncode == 0
    assert "1 of 1: 2 jobs, nothing left to compute" in again.stdout
    assert "✓ done" not in again.stdout  # all are stored


@pytest.mark.integration  # a sweep in a process of its own
def test_a_failed_experiment_is_named_and_sets_the_exit_code(script):
    done = script("paper", ONE, *TINY, "match=none", "dataset.resize=99")
    assert done.returncode == 1
    assert "paper/activation_gradient: 2 error" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["only=activatoin"], "did you mean activation"),
        (["experiment=smoke"], "only=NAME"),
        (["sweep=mine"], "only=NAME"),
        ([ONE, "size=nosuch"], "nosuch"),
        (["--nosuch"], "unrecognized arguments"),
    ],
)
def test_says_what_is_wrong(script, arguments, message):
    done = script("paper", *arguments)
    assert done.returncode != 0
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_counts_the_jobs_of_a_grid_as_the_size_and_the_overrides_make_it(paper):
    jobs = {name: paper.Experiment(name, ()).jobs for name in ("training_width", "activation")}
    assert jobs == {"training_width": 3 * 4 * 5, "activation": 7 * 2 * 5}
    assert paper.Experiment("training_width", ("size=full",)).jobs == 3 * 6 * 5
    assert paper.Experiment("training_width", ("width=w64", "seed=0,1")).jobs == 3 * 1 * 2


def test_default_job_times_belong_to_experiments(paper):
    assert set(paper.JOB_SECONDS) <= set(paper.EXPERIMENTS)
    assert paper.Experiment("another", ()).guess == paper.OTHER_JOB_SECONDS


def test_the_time_left_follows_the_pace_of_this_machine(paper, tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "workers", lambda threads: 1)
    where = (f"results_dir={tmp_path}",)
    first, second = (paper.Experiment(name, where) for name in ("training_width", "horizon"))
    both = [first, second]
    minutes = (60 * first.guess + 60 * second.guess) / 60
    assert paper.left(both, both) == f"about {minutes:.0f} minutes left"
    for number in range(2):  # two jobs took twice as long as is usual
        record = RunRecord.open(tmp_path, f"run-{number}")
        SweepIndex(tmp_path, first.index.directory.name).add(record.run_id, f"job {number}", number)
        record.begin({})
        record.finish("done")
        stored = record.status
        began = datetime.fromisoformat(stored["started"])
        finished = (began + timedelta(seconds=2 * first.guess)).isoformat()
        write_status(record.directory / "status.json", stored | {"finished": finished})
    minutes = 2 * (58 * first.guess + 60 * second.guess) / 60
    assert paper.left(both, both) == f"about {minutes:.0f} minutes left"


def test_runs_that_diverge_are_results_and_runs_in_error_are_not(paper, tmp_path):
    experiment = paper.Experiment("horizon", (f"results_dir={tmp_path}",))
    assert experiment.trouble() == "no run"
    for number, status in enumerate(("done", "diverged", "solver_failed")):
        record = RunRecord.open(tmp_path, f"run-{number}")
        experiment.index.add(record.run_id, f"job {number}", number)
        record.begin({})
        record.finish(status)
    assert experiment.trouble() == "no verdicts"
    (experiment.index.directory / "horizon_verdicts.csv").write_text(
        "verdict\n" + Verdict.NOT_SUPPORTED + "\n"
    )
    assert experiment.trouble() == ""
    RunRecord.open(tmp_path, "run-0").finish("error", "broke")
    assert experiment.trouble() == "1 error"
    assert "rerun=failed" in experiment.remedy()
    for status, kills, same_command in (("interrupted", 0, True), ("killed", 3, True), ("killed", 4, False)):
        RunRecord.open(tmp_path, "run-0").finish(status, kills=kills)
        assert experiment.trouble() == f"1 {status}"
        assert ("the same command" in experiment.remedy()) is same_command


def test_an_experiment_ends_with_this_process(paper, monkeypatch):
    started = {}

    class Process:
        returncode = 0

        def __init__(self, command, env):
            started.update(env)

        def wait(self):
            pass

    monkeypatch.setattr(paper.subprocess, "Popen", Process)
    paper.run_one(paper.Experiment("horizon", ()))
    assert started["NTKODE_PARENT"] == str(os.getpid())
    assert "NTKODE_PARENT" not in os.environ
