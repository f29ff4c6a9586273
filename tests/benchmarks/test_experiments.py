"""The stored experiments, as a user runs them, at a tiny size."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from tests.benchmarks.test_paper_training import CASES

from ntkode.report.registry import EXPERIMENTS
from ntkode.results import SweepIndex

CONF = Path(__file__).resolve().parents[2] / "conf"
FEW = ("dataset=digits", "n_train=10", "n_test=10")
SMALL = (*FEW, "model.width=12", "steps=2")
COARSE = "metrics.gradient.max_steps=40"


class Tiny(NamedTuple):
    """Overrides for four runs of an experiment, and what its report must contain."""

    overrides: tuple[str, ...]
    report: str
    claims: str  # stem of the CSV of claims
    column: str
    printed: str  # expected in the terminal


def limit(name, *overrides):
    return Tiny((*FEW, *overrides), name, f"{name}_slopes", "slope", "reference")


def gradient(*overrides):
    study = "gradient_accuracy"
    return Tiny(
        (*SMALL, COARSE, *overrides), study, f"{study}_orders", "order", "order of the gradient's error"
    )


TINY = {
    "width_limit": limit("width_limit", "width=w64,w128", "seed=0,1", "activation=tanh", "steps=2"),
    "depth_limit": limit(
        "depth_limit", "model.depth=4,8", "seed=0,1", "activation=tanh", "width=w64", "study.probe_size=4"
    ),
    "gradient_accuracy": gradient(
        "activation=tanh,relu", "solver=midpoint", "solver.steps=5,10", "gradient=backprop"
    ),
    "gradient_tolerance": gradient(
        "activation=tanh", "solver=dopri5", "solver.rtol=1e-3,1e-5", "gradient=backprop,adjoint_seminorm"
    ),
    "gradient_smoothing": gradient("activation.beta=1,64", "solver.steps=5,10"),
    "gradient_kinks": gradient(
        "activation=relu", "gradient=backprop,kink_averaged", "solver.steps=5,10", "seed=0"
    ),
    "gradient_training": Tiny(
        (*SMALL, "activation=tanh", "gradient.backward.steps=1,2"),
        "gradient_training",
        "gradient_training_enough",
        "largest",
        "largest gradient error",
    ),
}

TINY |= {
    "advice/gradient": gradient(
        "activation=tanh", "model.horizon=1,2", "solver=rk4", "solver.steps=5,10", "seed=0"
    ),
    "advice/kinks": gradient("model.horizon=1,2", "solver=midpoint", "solver.steps=5,10", "seed=0"),
    "advice/training": TINY["gradient_training"]._replace(
        overrides=(*SMALL, "activation=tanh", "gradient.backward.steps=1,2", "seed=0")
    ),
}

# The paper's experiments on limits. Four runs are too few for a verdict, unless the quantity is exact.
PAPER = {
    "depth_output": ("model.depth=4,8", "seed=0,1", "activation=tanh", "width=w64", "study.probe_size=4"),
    "depth_gradient": ("model.depth=4,8", "seed=0,1", "activation=tanh", "width=w64", "study.probe_size=4"),
    "width_ntk": ("seed=0,1", "activation=tanh"),
    "width_nngp": ("seed=0,1", "activation=tanh"),
    "gaussianity": ("seed=0,1", "activation=tanh", "study.initialisations=200", "study.samples=3"),
    "kernel_positivity": ("seed=0", "activation=tanh,identity", "dataset=sphere,sphere_antipodal"),
}
SUPPORTED = {"kernel_positivity": {"positive_tanh", "rank_identity", "odd_tanh"}}


QUICK = ("width_limit", "depth_limit", "gradient_accuracy", "gradient_training")


def test_every_experiment_is_tried():
    folder = CONF / "experiment"
    names = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")}
    names = {name for name in names if not name.startswith("paper/")}
    assert names == {*TINY, "smoke"}  # smoke is what CI runs
    paper = {path.stem for path in (folder / "paper").glob("*.yaml")}
    assert paper == {*PAPER, *CASES}
    assert {f"paper/{name}" for name in paper} == {*EXPERIMENTS}


@pytest.fixture
def run(script, tmp_path):
    """A function that runs an experiment and returns its output and the folder of its report."""

    def call(experiment, *overrides):
        # Serial: a joblib worker takes seconds to start.
        done = script("run", f"experiment={experiment}", *overrides, "hydra/launcher=basic")
        assert done.returncode == 0, done.stdout + done.stderr
        results = tmp_path / "results"
        return done.stdout, SweepIndex(results, SweepIndex.newest(results)).directory

    return call


@pytest.mark.parametrize("name", PAPER)
def test_an_experiment_of_the_paper_ends_in_verdicts_and_a_picture(run, name):
    few = ("n_train=24",) if name == "kernel_positivity" else FEW
    output, folder = run(f"paper/{name}", "size=smoke", *few, *PAPER[name])
    verdicts = pd.read_csv(folder / f"{name}_verdicts.csv").set_index("claim")["verdict"]
    assert set(verdicts[verdicts == "supported"].index) == SUPPORTED.get(name, set())
    assert f"{len(SUPPORTED.get(name, ()))} supported" in output
    assert len(list(folder.glob("*.png"))) == 1


def test_two_experiments_share_runs_and_show_different_claims(run):
    overrides = ("size=smoke", *FEW, *PAPER["width_ntk"])
    _, first = run("paper/width_ntk", *overrides)
    output, second = run("paper/width_nngp", *overrides)
    assert output.count("✓ stored") == 4
    assert [path.name for path in first.glob("*verdicts.csv")] == ["width_ntk_verdicts.csv"]
    assert [path.name for path in second.glob("*verdicts.csv")] == ["width_nngp_verdicts.csv"]
    assert "NNGP kernel converges" in output


@pytest.mark.parametrize(
    "experiment",
    # The others are the same studies on other grids.
    [pytest.param(name, marks=[pytest.mark.integration] * (name not in QUICK)) for name in TINY],
)
def test_an_experiment_ends_in_its_claims_and_a_picture(run, experiment):
    tiny = TINY[experiment]
    output, folder = run(experiment, *tiny.overrides)
    assert len(pd.read_csv(folder / f"{tiny.report}.csv")) == 4
    claims = pd.read_csv(folder / f"{tiny.claims}.csv")
    assert len(claims) == {"slope": 4, "order": 4, "largest": 2}[tiny.column]
    sign = -1 if tiny.column == "slope" else 1
    assert (sign * claims[tiny.column] > 0).all()
    assert (folder / f"{tiny.report}.png").read_bytes().startswith(b"\x89PNG")
    assert tiny.printed in output
