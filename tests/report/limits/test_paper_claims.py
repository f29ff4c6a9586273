"""The paper's claims on made-up runs: each can be supported, and each can contradict the paper."""

import numpy as np
import pandas as pd
import pytest

from ntkode.report.claims.verdicts import WithVerdicts
from ntkode.report.limits import gaussianity, kernel_positivity, limit_claims
from ntkode.report.registry import EXPERIMENTS, REPORTS, report_of
from ntkode.report.statistics.replicates import at, by_activation, mean_ratio, slope

PHI = ("tanh", "softplus", "relu")
SEEDS = range(5)


def noise(seed, *more):
    """A factor near 1 for each seed."""
    return float(np.exp(0.02 * np.random.default_rng([seed, *more]).standard_normal()))


def made_up_run(activation, seed, status="done", **columns):
    run_id = "-".join(map(str, (activation, seed, *columns.values())))[:90]
    row = {"run_id": run_id, "status": status, "message": "", "remedy": "", "config.seed": seed}
    return row | {"config.choices.activation": activation} | columns


def depth_runs(exponents, kink=3.0):
    """Errors proportional to powers of the depth; relu's gradient error is larger by the factor `kink`."""
    rows = []
    for phi in PHI:
        for seed in SEEDS:
            for width in (64, 256):
                for depth in (10, 100, 1000):
                    fall = noise(seed, width, depth) * depth ** exponents[phi]
                    columns = {
                        "config.model.depth": depth,
                        "config.model.width": width,
                        "output/relative_error": fall,
                        "gradient/discrete_error": fall
                        * noise(seed, depth, len(phi))
                        * (kink if phi == "relu" else 1),
                        "gradient/adjoint_error": fall,
                        "ntk/discrete_error": fall,
                    }
                    rows.append(made_up_run(phi, seed, **columns))
    return pd.DataFrame(rows)


def verdicts(claims, runs):
    return {judgement.claim.name: str(judgement.verdict) for judgement in claims.judge(runs)}


def test_depths_that_support_the_paper():
    runs = depth_runs({"tanh": -1, "softplus": -1, "relu": -0.5})
    by_claim = verdicts(limit_claims.DEPTH_GRADIENT, runs)
    assert set(by_claim.values()) == {"supported"}
    output = verdicts(limit_claims.DEPTH_OUTPUT, runs)
    assert output["rate_tanh"] == output["output_uniform_relu"] == "supported"
    assert output["rate_relu"] == "not supported"


def test_depths_that_contradict_the_paper():
    by_claim = verdicts(
        limit_claims.DEPTH_GRADIENT, depth_runs({"tanh": -0.5, "softplus": -0.5, "relu": -1}, kink=0.5)
    )
    assert by_claim["discretise_tanh"] == by_claim["adjoint_softplus"] == "not supported"
    assert by_claim["slower_relu"] == by_claim["kink_adds"] == "not supported"


def test_an_error_that_grows_with_the_width_is_not_supported():
    runs = depth_runs(dict.fromkeys(PHI, -1))
    runs["output/relative_error"] *= runs["config.model.width"]
    by_claim = verdicts(limit_claims.DEPTH_OUTPUT, runs)
    assert by_claim["output_uniform_tanh"] == "not supported"
    assert by_claim["rate_tanh"] == "supported"  # fitted for each width separately


def width_runs(exponent, widths=(64, 128, 256)):
    rows = [
        made_up_run(
            phi,
            seed,
            **{
                "config.model.width": width,
                "ntk/limit_distance.first": noise(seed, width) * width**exponent,
                "nngp/limit_distance.first": noise(seed, width) * width**exponent,
            },
        )
        for phi in PHI
        for seed in SEEDS
        for width in widths
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        (width_runs(-0.5), "supported"),
        (width_runs(-1.0), "not supported"),
        (width_runs(-0.5, widths=(64,)), "inconclusive"),
        (width_runs(-0.5).assign(status="killed"), "inconclusive"),
    ],
)
def test_widths(runs, verdict):
    for claims in (limit_claims.WIDTH_NTK, limit_claims.WIDTH_NNGP):
        assert set(verdicts(claims, runs).values()) == {verdict}


def gaussian_runs(exponent, floor):
    rows = []
    for phi in PHI:
        for seed in SEEDS:
            for width in (4, 16, 64, 128):
                fall = noise(seed, width) * width**exponent
                columns = {
                    "config.model.width": width,
                    "output/excess_kurtosis": fall,
                    "output/limit_distance": fall,
                    "outputs/square_correlation": fall,
                    "process/ad_ratio": floor * noise(seed, width) + 30 * fall,
                    "quantile/-1.00": -1 - fall,
                    "quantile/+1.00": 1 + fall,
                    "quantile/+1.00.first": 1 + fall,
                }
                rows.append(made_up_run(phi, seed, **columns))
    return pd.DataFrame(rows)


def test_gaussianity():
    by_claim = verdicts(gaussianity.CLAIMS, gaussian_runs(-1.0, 0.5))
    assert set(by_claim.values()) == {"supported"}
    blind = verdicts(gaussianity.CLAIMS, gaussian_runs(-3.0, 0.2))  # tests without power
    assert blind["narrowest_tanh"] == "not supported"
    stays = verdicts(gaussianity.CLAIMS, gaussian_runs(-0.1, 0.5))
    assert stays["kurtosis_relu"] == stays["independence_softplus"] == "not supported"
    assert stays["widest_tanh"] == "not supported"
    assert stays["narrowest_tanh"] == "supported"


def test_the_picture_of_gaussianity(tmp_path):
    report = gaussianity.report(gaussian_runs(-1.0, 0.5), tmp_path)
    titles = [axes.get_title("left") for axes in report.figure.axes]
    assert [title.partition(":")[0] for title in titles[:3]] == list(PHI)
    quantiles = report.figure.axes[0].get_lines()
    assert len(quantiles) == 1 + 4  # the axis, and one line per width
    assert list(quantiles[1].get_xdata()) == [-1, 1]
    assert len(report.figure.axes) == 6
    assert gaussianity.report(gaussian_runs(-1.0, 0.5).assign(status="error"), tmp_path).figure is not None


def kernel_runs(smallest, network=0.8):
    """λ_min/λ_max of the limit by (data set, activation); 1e-2 by default."""
    rows = []
    for data in (*kernel_positivity.GENERIC, *kernel_positivity.ANTIPODAL):
        for phi in (*PHI, "gelu", "quadratic", "identity"):
            for seed in range(3):
                value = smallest.get((data, phi), smallest.get(phi, 1e-2)) * noise(seed)
                columns = {
                    "config.choices.dataset": data,
                    "config.n_train": 64,
                    "ntk/limit_lambda_min": 10 * value,
                    "ntk/limit_lambda_max": 10.0,
                    "ntk/limit_resolution": 1e-9,
                    "ntk/limit_rank": 64.0,
                    "ntk/lambda_min": 10 * network * value * noise(seed, 1),
                    "ntk/lambda_max": 10.0,
                    "ntk/resolution": 1e-13,
                }
                rows.append(made_up_run(phi, seed, **columns))
    return pd.DataFrame(rows)


SINGULAR = {"identity": -1e-16, ("sphere_antipodal", "tanh"): 1e-17}


def test_positivity_that_supports_the_theory():
    by_claim = verdicts(kernel_positivity.CLAIMS, kernel_runs(SINGULAR))
    assert by_claim.pop("necessary_quadratic") == "not supported"  # a polynomial is positive definite
    assert set(by_claim.values()) == {"supported"}


def test_positivity_that_contradicts_the_theory():
    by_claim = verdicts(kernel_positivity.CLAIMS, kernel_runs({"quadratic": 0.0}, network=0.2))
    assert by_claim["necessary_quadratic"] == "supported"
    assert by_claim["rank_identity"] == by_claim["odd_tanh"] == by_claim["network_gelu"] == "not supported"


def test_unresolved_eigenvalues_are_inconclusive():
    by_claim = verdicts(kernel_positivity.CLAIMS, kernel_runs({**SINGULAR, ("mnist", "gelu"): 5e-11}))
    assert by_claim["positive_gelu"] == "inconclusive"  # one case of nine
    assert by_claim["network_gelu"] == "inconclusive"
    assert by_claim["positive_tanh"] == "supported"
    runs = kernel_runs(SINGULAR)
    runs["ntk/limit_resolution"] = 1e-3  # coarser than the bound for singular kernels
    assert verdicts(kernel_positivity.CLAIMS, runs)["rank_identity"] == "inconclusive"


def test_the_table_and_picture_of_positivity(tmp_path):
    report = kernel_positivity.report(kernel_runs(SINGULAR), tmp_path)
    assert len(report.tables["kernel_positivity"]) == 72
    assert [axes.get_title("left") for axes in report.figure.axes] == [
        "mnist",
        "mnist_7x7",
        "sphere",
        "sphere_antipodal",
    ]
    markers = [line.get_marker() for line in report.figure.axes[3].get_lines()]
    assert markers.count(r"$\downarrow$") == 2 * 2 * 3  # tanh and identity, limit and network, three seeds


def test_values_at_an_end_and_paired_ratios():
    runs = width_runs(-0.5)
    where, column = by_activation("tanh"), "ntk/limit_distance.first"
    widest = at(max, "config.model.width", column, where)(runs)
    assert widest.tolist() == pytest.approx([noise(seed, 256) / 16 for seed in SEEDS])
    assert at(max, "config.model.width", column, where)(runs.iloc[:0]).empty
    runs["one"] = 1.0
    same = mean_ratio((column, "one"), where, by_activation("relu"))(runs)
    assert same.tolist() == pytest.approx([1] * 5)
    tail = slope(column, "config.model.width", where, least=128)(runs.assign(one=0))
    assert tail.notna().all()
    assert slope(column, "config.model.width", where, least=256)(runs).empty


def test_every_experiment_of_the_paper_has_claims_of_the_same_name():
    assert "gaussianity" in REPORTS
    for name, report in EXPERIMENTS.items():
        assert report_of(name) is report
        if isinstance(report, WithVerdicts):  # the claims of the others depend on their runs
            assert name == f"paper/{report.claims.name}"
