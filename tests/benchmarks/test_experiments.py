"""The stored experiments, as a user runs them, at a tiny size."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from ntkode.results import SweepIndex

CONF = Path(__file__).resolve().parents[2] / "conf"
FEW = ("dataset=digits", "n_train=10", "n_test=10")
SMALL = (*FEW, "model.width=12", "steps=2")
COARSE = "metrics.gradient.max_steps=80"


class Tiny(NamedTuple):
    """An experiment's four runs, and what its report comes to."""

    overrides: tuple[str, ...]
    report: str
    claims: str  # the table of what is claimed
    column: str
    said: str  # in the terminal


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
        "small enough",
    ),
}


def test_every_experiment_is_tried():
    stored = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    assert stored == {*TINY, "smoke"}  # smoke is what CI runs


@pytest.mark.parametrize("experiment", TINY)
def test_an_experiment_ends_in_its_claims_and_a_picture(script, tmp_path, experiment):
    tiny = TINY[experiment]
    # One job after the other: a worker of joblib's takes seconds to start.
    done = script("run", f"experiment={experiment}", *tiny.overrides, "hydra/launcher=basic")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = SweepIndex(tmp_path / "results", SweepIndex.newest(tmp_path / "results")).directory
    assert len(pd.read_csv(folder / f"{tiny.report}.csv")) == 4
    claims = pd.read_csv(folder / f"{tiny.claims}.csv")
    assert len(claims) == {"slope": 4, "order": 4, "largest": 2}[tiny.column]
    sign = -1 if tiny.column == "slope" else 1
    assert (sign * claims[tiny.column] > 0).all()
    assert (folder / f"{tiny.report}.png").read_bytes().startswith(b"\x89PNG")
    assert tiny.said in done.stdout
