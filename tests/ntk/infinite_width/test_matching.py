import pytest
import torch

from ntkode import activations
from ntkode.integrate import Solver
from ntkode.models import NeuralODE, ResNet
from ntkode.ntk import (
    MatchHidden,
    MatchHorizon,
    MatchNTK,
    Network,
    UnreachableTarget,
    empirical_ntk,
    infinite_width_kernels,
)

INPUTS = torch.tensor([0.5, 1.0, 1.0, 2.0], dtype=torch.float64)  # |x|²/d


def rows():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(INPUTS), 5, generator=generator, dtype=torch.float64)
    return x / x.norm(dim=1, keepdim=True) * (5 * INPUTS).sqrt()[:, None]


def network(name, horizon=1.0, depth=None):
    return Network(activations.get(name), INPUTS, horizon, depth)


@pytest.mark.parametrize("depth", [None, 8])
@pytest.mark.parametrize("name", ["tanh", "relu", "erf", "gelu", "identity"])
def test_the_limit_at_matched_scales_has_the_stated_moments(name, depth):
    scales = MatchNTK(output_variance=0.7, ntk_diagonal=1.9).scales(network(name, 1.5, depth))
    kernels = infinite_width_kernels(
        rows(), activation=name, horizon=1.5, sigma_w=scales.sigma_w, sigma_v=scales.sigma_v, depth=depth
    )
    # Targets are solved to 1e-6.
    assert float(kernels.nngp.diag().mean()) == pytest.approx(0.7, rel=1e-5)
    assert float(kernels.ntk.diag().mean()) == pytest.approx(1.9, rel=1e-5)
    assert scales.ntk_diagonal == pytest.approx(1.9, rel=1e-5)


def test_only_sigma_w_times_horizon_matters():
    short, long = (MatchNTK().scales(network("tanh", horizon)) for horizon in (0.5, 2.0))
    assert short.sigma_w == pytest.approx(4 * long.sigma_w, rel=1e-6)
    assert short.sigma_v == pytest.approx(long.sigma_v, rel=1e-6)


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_match_horizon_gives_the_same_network_at_every_horizon(name):
    matched = [MatchHorizon(gamma=1.5, sigma_v=0.5).scales(network(name, horizon)) for horizon in (0.5, 8.0)]
    assert [scales.sigma_w for scales in matched] == [3.0, 1.5 / 8]
    assert {scales.sigma_v for scales in matched} == {0.5}
    assert matched[0].ntk_diagonal == pytest.approx(matched[1].ntk_diagonal)
    kernels = infinite_width_kernels(rows(), activation=name, horizon=1.5, sigma_v=0.5)
    # Without pairs, the diagonal is computed with fewer nodes in time.
    assert matched[0].output_variance == pytest.approx(float(kernels.nngp.diag().mean()), rel=1e-4)
    # The same weights give the same function up to the solver's error with steps of γ/20.
    torch.manual_seed(0)
    short = NeuralODE(5, 30, activation=name, horizon=0.5, sigma_w=3.0, solver=Solver("rk4", 20)).double()
    long = NeuralODE(5, 30, activation=name, horizon=8.0, sigma_w=1.5 / 8, solver=Solver("rk4", 20)).double()
    long.load_state_dict(short.state_dict())
    with torch.no_grad():
        # Rounding alone: the steps are the same, too.
        assert torch.allclose(short(rows()), long(rows()), rtol=1e-10)


def test_a_gamma_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"match\.gamma"):
        MatchHorizon(gamma=0.0)


def test_wide_networks_have_the_matched_hidden_variance():
    scales = MatchHidden(output_variance=1.0, hidden_variance=2.0).scales(network("tanh"))
    torch.manual_seed(0)
    model = NeuralODE(5, 2000, activation="tanh", sigma_w=scales.sigma_w, sigma_v=scales.sigma_v).double()
    with torch.no_grad():
        hidden = model.flow(model.encode(rows()))
    # Four inputs, 2,000 units: relative spread of a variance √(2/2000) ≈ 3 % each, correlated.
    assert float(hidden.square().mean()) == pytest.approx(2.0, rel=0.1)


def test_matched_resnets_agree_at_finite_width():
    x, diagonals = rows(), []
    for name in ("tanh", "relu"):
        scales = MatchNTK(output_variance=1.0, ntk_diagonal=2.6).scales(network(name, depth=6))
        torch.manual_seed(0)
        model = ResNet(
            5, 1500, activation=name, depth=6, sigma_w=scales.sigma_w, sigma_v=scales.sigma_v
        ).double()
        diagonals.append(float(empirical_ntk(model, x).diag().mean()))
    # n^{-1/2} ≈ 2.6 % times a constant of 1–3.
    assert diagonals == pytest.approx([2.6, 2.6], rel=0.1)


@pytest.mark.parametrize(
    ("match", "name", "named"),
    [
        (MatchNTK(ntk_diagonal=3.0), "sigmoid", r"ntk_diagonal=3 .* 'sigmoid'.* between 1\.\d+ and 1\.\d+"),
        (MatchHidden(hidden_variance=0.5), "tanh", r"hidden_variance=0\.5 .* between 1\.1\d and"),
        (MatchNTK(ntk_diagonal=500.0), "quadratic", "ntk_diagonal=500"),
    ],
)
def test_an_unreachable_target_names_the_range(match, name, named):
    with pytest.raises(UnreachableTarget, match=named):
        match.scales(network(name))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_targets_are_positive(value):
    with pytest.raises(ValueError, match=r"match\.output_variance"):
        MatchNTK(output_variance=value)
    with pytest.raises(ValueError, match=r"match\.hidden_variance"):
        MatchHidden(hidden_variance=value)


def test_many_norms_are_averaged_by_interpolation():
    inputs = torch.linspace(0.5, 2.0, 60, dtype=torch.float64)
    x = torch.ones(60, 4, dtype=torch.float64) * inputs.sqrt()[:, None]
    limits = Network(activations.get("tanh"), inputs, 1.0).limits(1.0)
    kernels = infinite_width_kernels(x, activation="tanh")
    # Solved to 1e-6; twelve nodes in log K0 interpolate better than that.
    assert limits.nngp == pytest.approx(float(kernels.nngp.diag().mean()), rel=1e-5)
    assert limits.ntk == pytest.approx(float(kernels.ntk.diag().mean()), rel=1e-5)


def test_norms_that_differ_by_rounding_count_as_equal():
    inputs = (1 + 1e-7 * torch.randn(1000, generator=torch.Generator().manual_seed(0))).double()
    assert len(Network(activations.get("tanh"), inputs, 1.0)._norms[0]) <= 3


def test_zero_inputs_are_named():
    with pytest.raises(ValueError, match="row 1 has K0 = 0"):
        Network(activations.get("tanh"), torch.tensor([1.0, 0.0]), 1.0)
