"""benchmarks/advise.py, advise_trial.py and advice_evidence.py as a user runs them."""

import json
import re
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
QUICK = ("dataset=digits", "n_train=60", "dataset.n_test=50", "steps=20", "rows=60", "gammas=0.5,1")


@pytest.mark.integration  # a sweep that trains
def test_advice_ends_with_a_command_that_a_trial_can_run(script):
    done = script("advise", *QUICK, "activations=tanh,relu", "distance=0.5", "out=there/advice.json")
    assert done.returncode == 0, done.stderr
    advice = json.loads(Path("there/advice.json").read_text())
    settings = dict(pair.split("=") for pair in advice["overrides"])
    assert set(settings) == {
        "activation",
        "model.sigma_w",
        "width",
        "solver",
        "solver.steps",
        "gradient",
    }
    assert done.stdout.splitlines()[-1] == advice["command"]
    assert advice["command"].startswith("python benchmarks/run.py dataset=digits n_train=60")
    assert "none of them of digits" in " ".join(done.stdout.split())
    assert len(advice["candidates"]) == 4
    best = min(c["error"] for c in advice["candidates"])
    assert advice["candidates"][0]["error"] - best <= advice["candidates"][0]["noise"]
    assert {r["choice"] for r in advice["reasons"]} >= {"width", "solver, steps", "learning rate"}
    assert all(r["rule"] and r["evidence"] for r in advice["reasons"])

    done = script(
        "advise_trial",
        "advice=there/advice.json",
        "random=1",
        "seeds=1",
        "results=there/results",
        "out=trial.json",
    )
    assert done.returncode == 0, done.stderr
    trial = json.loads(Path("trial.json").read_text())
    assert [(run["setting"], run["status"]) for run in trial["runs"]] == [
        ("advised", "done"),
        ("default", "done"),
        ("random 1", "done"),
    ]
    assert all(0 <= run["error"] < 1 for run in trial["runs"])
    differences = {v["against"]: v["difference"] for v in trial["verdicts"]}
    errors = {run["setting"]: run["error"] for run in trial["runs"]}
    assert differences["default"] == pytest.approx(errors["advised"] - errors["default"])


def test_a_budget_chooses_steps_that_fit_and_what_is_measured(script):
    done = script(
        "advise", *QUICK, "activations=tanh", "distance=0.5", "budget=30", "memory=500", "out=advice.json"
    )
    assert done.returncode == 0, done.stderr
    advice = json.loads(Path("advice.json").read_text())
    assert 0 < advice["seconds"] <= 30
    assert f"steps={advice['steps']}" in advice["overrides"]
    assert "metrics=cheap" in advice["overrides"]
    assert advice["command"].count("steps=") == 2  # training and solver: what was given is replaced
    gradient = next(r for r in advice["reasons"] if r["choice"] == "gradient method")
    assert "MiB measured here" in gradient["evidence"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["activation=tanh"], "activation=tanh: advise sets this key, leave it out; activations="),
        (["model=resnet"], "the theory covers model=neural_ode only"),
        (["loss=cross_entropy"], "the theory covers loss=squared only"),
        (["dataset=digits,mnist"], "one setting at a time, such as dataset=digits"),
        (["activations=tahn"], "activations=tahn: no such choice"),
        (["budget=soon"], "budget=soon is not a number"),
        (["rows=50.5"], "rows=50.5 must be an integer"),
        (["rows=3"], "rows=3 is too few"),
        (["gammas=100"], "gammas=100: gradients were measured only up to"),
        (["+study=width_limit"], "study=width_limit: advise sets this key"),
        (["model.subtract_initial_output=false"], "covers model.subtract_initial_output=true only"),
        (["activatons=tanh"], "activatons=tanh: no such key .did you mean activations=tanh"),
        (["+buget=3"], "did you mean budget=3"),
        (["trainer=ddp"], "trainer=ddp: costs are measured on the CPU"),
        (["trainer.devices=2"], "trainer.devices=2: costs are measured on the CPU"),
        (["model.horizon=0"], "model.horizon=0 must be a positive number"),
        (["out=/dev/null/there"], "out=/dev/null/there cannot be written"),
        (["budget=-1"], "budget=-1.0 must be a positive number"),
        (["activations=quadratic", "gammas=3"], "no candidate can be advised; quadratic .*: .* try gammas="),
        (["activations=tanh", "budget=0.0001"], "budget=0.0001 seconds is too short"),
        (["activations=tanh", "memory=0.01"], "memory=0.01 MiB is too little for a gradient"),
        (["evidence=nowhere.json"], "evidence=nowhere.json cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_advised_on_ends_with_what_to_try(script, arguments, message):
    quick = [pair for pair in QUICK if pair.split("=")[0] not in {a.split("=")[0] for a in arguments}]
    done = script("advise", *quick, *arguments)
    assert done.returncode == 1
    assert re.search(message, done.stderr)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("dataset=digts", "dataset has no choice digts (did you mean digits?)"),
        ("n_trian=60", "no key n_trian (did you mean n_train?)"),
        ("data_root=nowhere", "data_root=nowhere: no such folder"),
    ],
)
def test_a_misused_override_is_one_line(script, argument, message):
    done = script("advise", argument)
    assert done.returncode == 2
    [error] = done.stderr.splitlines()
    assert message in error


def test_no_file_is_left_where_no_advice_can_be_given(script):
    assert script("advise", *QUICK, "n_train=5", "out=advice.json").returncode == 1
    assert not Path("advice.json").exists()


@pytest.mark.parametrize("dataset", sorted(p.stem for p in (SCRIPTS.parent / "conf/dataset").glob("*.yaml")))
def test_every_data_set_composes(script, dataset):
    """An override that is refused late: the config was composed, with all its resolvers, before."""
    assert "model.horizon=0 must be" in script("advise", f"dataset={dataset}", "model.horizon=0").stderr


def test_evidence_needs_runs_of_every_part(script):
    done = script("advice_evidence", "results=nowhere", "out=evidence.json")
    assert "run make evidence, or name other sweeps" in done.stderr
    assert not Path("evidence.json").exists()


def test_a_trial_is_on_other_draws_than_the_advice(script):
    advice = {"draw": 2, "dataset": "digits", "overrides": [], "steps": 1}
    advice |= {"asked": {"widths": [64], "activations": ["tanh"], "gammas": [1], "horizon": 1}}
    Path("advice.json").write_text(json.dumps(advice | {"given": ["dataset=digits"]}))
    done = script("advise_trial", "advice=advice.json")
    assert "seeds=2 is the draw used for the advice" in done.stderr
    fixed = advice | {"given": ["dataset=digits", "dataset.seed=2"]}
    Path("advice.json").write_text(json.dumps(fixed))
    assert "seeds=1 is the draw" in script("advise_trial", "advice=advice.json").stderr


@pytest.mark.parametrize("text", ["", "[]", '{"steps": 1}'])
def test_a_file_that_is_no_advice_is_named(script, text):
    Path("advice.json").write_text(text)
    done = script("advise_trial", "advice=advice.json")
    assert done.returncode == 1
    assert "advice=advice.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_trial_needs_its_advice(script):
    assert "advice=FILE is missing" in script("advise_trial").stderr
