"""study=kernel_positivity: singular, positive definite and unresolved kernels."""

import pytest
import torch

from ntkode.ntk import infinite_width_kernels
from ntkode.results import Status
from ntkode.studies import build
from ntkode.studies.kernel_positivity import positivity

SMALL = (
    "study=kernel_positivity",
    "size=smoke",
    "dataset=sphere",
    "logger=none",
    "metrics=none",
    "n_train=30",
    "width=w64",
    "model.sigma_w=0.3",
    "steps=1",
)


def test_resolution_and_rank_of_known_spectra():
    values = positivity("k/", torch.diag(torch.tensor([1.0, 1e-3, 0.0], dtype=torch.float64)))
    assert values["k/lambda_max"] == 1
    assert values["k/rank"] == 2
    assert values["k/lambda_min"] <= values["k/resolution"] < 1e-14
    coarse = positivity("k/", torch.diag(torch.tensor([1.0, 1e-3, 0.0]).double()), entry_error=1e-3)
    assert coarse["k/resolution"] == pytest.approx(3e-3)
    assert coarse["k/rank"] == 1  # 1e-3 is not resolved


def test_an_entrys_error_moves_no_eigenvalue_by_more_than_n_times_it():
    generator = torch.Generator().manual_seed(0)
    error = torch.rand(40, 40, generator=generator, dtype=torch.float64) * 2 - 1
    error = 1e-3 * (error + error.T) / 2
    moved = torch.linalg.eigvalsh(torch.eye(40).double() + error) - 1
    assert moved.abs().max() <= 40 * 1e-3


@pytest.mark.parametrize(
    ("overrides", "rank"),
    [
        ("activation=tanh", 30),
        ("activation=softplus", 30),
        ("activation=quadratic", 30),  # of full rank although φ is a polynomial
        ("activation=identity", 20),  # at most the number of features
        (
            "activation=tanh dataset=sphere_antipodal",
            15,
        ),  # φ odd: half of the rows are negatives
        ("activation=identity dataset=sphere_antipodal", 15),
        ("activation=gelu dataset=sphere_antipodal", 30),
    ],
)
def test_ranks_of_limit_and_network(run, overrides, rank):
    _, record = run(*overrides.split())
    assert record.status["status"] == Status.DONE, record.status
    values = record.summary()
    for prefix in ("ntk/limit_", "nngp/limit_", "ntk/"):
        assert values[f"{prefix}rank"] == rank
        assert (values[f"{prefix}lambda_min"] > values[f"{prefix}resolution"]) == (rank == 30)


def test_the_limit_is_the_exact_flows(run):
    config, record = run("activation=tanh")
    data = build(config["dataset"])
    data.setup()
    limit = infinite_width_kernels(data.train.x.double(), activation="tanh", sigma_w=0.3, tolerance=1e-11)
    expected = float(torch.linalg.eigvalsh(limit.ntk)[0])
    values = record.summary()
    assert abs(values["ntk/limit_lambda_min"] - expected) <= values["ntk/limit_resolution"]


@pytest.mark.parametrize(
    ("overrides", "named", "remedy"),
    [
        ("activation=quadratic model.sigma_w=2", "quadratic", "model.horizon="),
        ("study.tolerance=0", "study.tolerance=0", "study.tolerance="),
    ],
)
def test_bad_input_names_value_and_remedy(run, overrides, named, remedy):
    stored = run(*overrides.split())[1].status
    assert stored["status"] == "error"
    assert named in stored["message"]
    assert remedy in stored["message"] + stored["remedy"]
