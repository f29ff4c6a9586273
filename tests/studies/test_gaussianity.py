"""study=gaussianity: blocks of networks against single ones, its statistics, and what they detect."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from ntkode.integrate import Solver
from ntkode.models import NeuralODE
from ntkode.results import Status
from ntkode.studies.ensemble import Ensemble, coordinates
from ntkode.studies.gaussianity import against_limit, independence, mixture, normality

SMALL = (
    "study=gaussianity",
    "size=smoke",
    "dataset=digits",
    "logger=none",
    "metrics=none",
    "study.initialisations=1000",
    "study.samples=4",
    "solver.steps=3",
)


def test_a_block_of_networks_gives_what_each_gives_alone():
    torch.manual_seed(0)
    x = torch.randn(3, 5, dtype=torch.float64)
    scales = {"horizon": 1.5, "sigma_u": 0.8, "sigma_w": 1.2, "sigma_v": 0.7}
    model = NeuralODE(5, 6, 2, activation="softplus", solver=Solver("rk4", steps=4), **scales).double()
    u, w, v = (torch.randn(4, 6, m, dtype=torch.float64) for m in (5, 6, 2))
    outputs, variances = Ensemble(model, x).outputs(x, u, w, v)
    for b in range(4):
        model.load_state_dict({"U": u[b], "W": w[b], "v": v[b]})
        torch.testing.assert_close(outputs[b], model(x).detach(), rtol=1e-12, atol=1e-12)
        features = model.activation(model.flow(model.encode(x))).detach()
        torch.testing.assert_close(variances[b], 0.7**2 / 6 * features.square().sum(1))


def test_coordinates_keep_the_inputs_geometry():
    x = torch.randn(4, 30, dtype=torch.float64)
    r = coordinates(x)
    assert r.shape == (4, 4)
    torch.testing.assert_close(r @ r.T, x @ x.T)
    assert coordinates(x.T) is not None
    assert coordinates(x.T).shape == (30, 4)


def test_blocks_cover_all_initialisations():
    model = NeuralODE(5, 600, 2, activation="tanh", solver=Solver("rk4", steps=1))
    blocks = list(Ensemble(model, torch.randn(2, 5)).sample(30, torch.Generator().manual_seed(0)))
    assert len(blocks) > 1
    assert sum(len(outputs) for outputs, _ in blocks) == 30
    assert not torch.equal(blocks[0][0][:3], blocks[1][0][:3])


def made(spread, m=20_000, inputs=3, outputs=4):
    """Mixtures of Gaussians whose variances are 1 ± spread with equal chances."""
    generator = np.random.default_rng(0)
    variances = 1 + spread * generator.choice([-1, 1], size=(m, 1)) * np.ones((1, inputs))
    draws = generator.standard_normal((m, inputs, outputs))
    return np.sqrt(variances)[:, :, None] * draws, variances


def test_numbers_of_a_known_mixture():
    outputs, variances = made(0.5)
    values = mixture(variances, np.ones(3))
    assert values["output/excess_kurtosis"] == pytest.approx(3 * 0.25, rel=0.01)
    z = np.linspace(-4, 4, 4001)
    law = (stats.norm.cdf(z / math.sqrt(0.5)) + stats.norm.cdf(z / math.sqrt(1.5))) / 2
    distance = np.abs(law - stats.norm.cdf(z)).max()
    assert values["output/limit_distance"] == pytest.approx(distance, rel=0.03)
    tests = normality("output", outputs[:, :, 0])
    assert tests["output/sample_kurtosis"] == pytest.approx(0.75, abs=0.15)
    assert tests["output/ad_rejected"] == tests["output/ks_rejected"] == 1
    # corr(f_a², f_b²) = Var q/(2 E[q²] + Var q + …) = 0.25/(3·1.25 − 1).
    dependence = independence(outputs)
    assert dependence["outputs/square_correlation"] == pytest.approx(0.25 / 2.75, abs=0.02)
    assert dependence["outputs/dependence_rejected"] == 1
    assert dependence["outputs/correlation"] < 0.02
    assert against_limit(outputs[:, :, 0], np.ones(3))["output/limit_rejected"] == 1


def test_an_output_that_is_zero_whatever_v_is_a_point_mass():
    """One of a hundred networks is zero: the distribution jumps by 1/100 at 0; the others are Gaussian."""
    variances = np.ones((100, 2))
    variances[7, 1] = 0.0
    # The mean over two inputs; the distribution at the second deviates by half the jump on both sides of 0.
    assert mixture(variances, np.ones(2))["output/limit_distance"] == pytest.approx(0.005 / 2)


def test_gaussian_independent_outputs_pass():
    outputs, variances = made(0.0)
    assert mixture(variances, np.ones(3))["output/excess_kurtosis"] == 0
    values = normality("output", outputs[:, :, 0]) | independence(outputs)
    values |= against_limit(outputs[:, :, 0], np.ones(3))
    assert [name for name in values if name.endswith("rejected") and values[name]] == []
    assert values["quantile/+1.00"] == pytest.approx(1, abs=0.03)
    wrong = against_limit(outputs[:, :, 0], np.full(3, 1.2))  # the variance differs from the limit
    assert wrong["output/limit_rejected"] == 1


def test_one_output_has_nothing_to_depend_on():
    assert independence(np.zeros((100, 2, 1))) == {}


def test_deviations_fall_as_one_over_the_width(run):
    summaries = {}
    for width in (4, 16, 64):
        _, record = run("activation=tanh", f"model.width={width}")
        assert record.status["status"] == Status.DONE, record.status
        summaries[width] = record.summary()
    assert summaries[4]["process/ad_rejected"] == 1  # the test detects the deviation
    kurtosis = [summaries[width]["output/excess_kurtosis"] for width in (4, 16, 64)]
    slope = math.log(kurtosis[2] / kurtosis[0]) / math.log(16)
    # A variance of 1,000 samples has an error of √(2/1,000) = 4 %, which is 0.03 in the slope; the tolerance
    # is five times that.
    assert slope == pytest.approx(-1, abs=0.15)
    assert summaries[64]["output/variance_error"] < 0.03
    assert summaries[64]["output/limit_distance"] < summaries[4]["output/limit_distance"] / 5


def test_the_same_config_gives_the_same_numbers(run):
    first = run("model.width=8", "seed=3")[1].history()
    assert run("model.width=8", "seed=3", "rerun=all")[1].history() == first
    assert run("model.width=8", "seed=4")[1].history() != first


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("study.initialisations=99", "study.initialisations=99"),
        ("study.samples=0", "study.samples=0"),
        ("model=mlp_ode", "study=gaussianity"),
    ],
)
def test_bad_input_names_the_value(run, override, named):
    status = run(override)[1].status
    assert status["status"] == "error"
    assert named in status["message"]
