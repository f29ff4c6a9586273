"""The stored experiments of the limits, as a user runs them, at a tiny size."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import get_cachedir

from ntkode.results import SweepIndex

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
TINY = {
    "width_limit": ("width=w64,w128", "seed=0,1", "activation=tanh", "n_train=10", "n_test=10", "steps=2"),
    "depth_limit": (
        "model.depth=4,8",
        "seed=0,1",
        "activation=tanh",
        "width=w64",
        "n_train=10",
        "n_test=10",
        "study.probe_size=4",
    ),
}


@pytest.mark.parametrize("experiment", TINY)
def test_an_experiment_ends_in_slopes_and_a_picture(tmp_path, experiment):
    command = [sys.executable, str(SCRIPT), f"experiment={experiment}", "dataset=digits", *TINY[experiment]]
    environment = os.environ | {"MPLCONFIGDIR": get_cachedir()}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = SweepIndex(tmp_path / "results", SweepIndex.newest(tmp_path / "results")).directory
    assert len(pd.read_csv(folder / f"{experiment}.csv")) == 4
    slopes = pd.read_csv(folder / f"{experiment}_slopes.csv")
    assert len(slopes) == 4
    assert (slopes["slope"] < 0).all()
    assert (folder / f"{experiment}.png").read_bytes().startswith(b"\x89PNG")
    assert "reference" in done.stdout
