"""How close the outputs of a network of width n are to Gaussian, over random initialisations."""

from __future__ import annotations

import time

import numpy as np
import torch
from scipy import stats

from ntkode.checks import count
from ntkode.ntk import network_limit
from ntkode.results import RunRecord, summarise
from ntkode.studies.base import Config
from ntkode.studies.ensemble import Ensemble
from ntkode.studies.normality import (
    AD_CRITICAL,
    Floats,
    anderson_darling,
    anderson_darling_p,
    holm,
    kolmogorov_distances,
    lilliefors_p,
    standardised,
)
from ntkode.studies.preparation import (
    append_row,
    begin_measuring,
    build_model,
    paper_model,
    scales_summary,
)
from ntkode.tracking import Tracker

LEVEL = 0.05
# Standard normal quantiles at which the quantiles of the outputs are stored, for a Q–Q plot.
QUANTILES = tuple(float(z) for z in np.linspace(-3, 3, 25))
# Points at which distribution functions are compared with the Gaussian, in standard deviations.
_GRID = np.linspace(-5, 5, 201)


class Gaussianity:
    """`study=gaussianity`: one run is one width, over `initialisations` independent networks.

    As n → ∞ the outputs at all inputs become a Gaussian process with the NNGP kernel, and the k outputs
    independent. For finite n the output at x is, given U and W, exactly Gaussian with variance
    q(x) = (σ_v²/n)|φ(h_T(x))|². It is a mixture of Gaussians, and deviates from a Gaussian only by the spread
    of q. The study measures, as means over the first training samples,

        output/excess_kurtosis       3 Var(q)/E[q]², which is E[f⁴]/E[f²]² − 3 without sampling noise of v
        output/sample_kurtosis       the same from samples of the outputs
        output/limit_distance        sup over z of |P(f ≤ z) − Φ(z/√NNGP(x,x))|, without sampling noise of v
        output/variance_error        |E[q]/NNGP(x,x) − 1|
        output/ad_ratio              Anderson–Darling statistic over the value that 5 % of Gaussian samples
                                     exceed; mean and variance are estimated
        output/ks_rejected, output/ad_rejected, output/limit_rejected
                                     share of inputs at which the Lilliefors test, the Anderson–Darling
                                     test, and the Kolmogorov–Smirnov test against N(0, NNGP) reject at 5 %,
                                     with Holm's correction for the number of inputs
        process/ad_ratio, process/ad_rejected
                                     the same for random combinations Σ a_i f(x_i), as many as inputs: each
                                     is Gaussian if the outputs are jointly Gaussian
        outputs/correlation          |corr(f_a, f_b)|, mean over pairs of outputs
        outputs/square_correlation   corr(f_a², f_b²), mean over pairs of outputs: it measures the dependence
                                     of outputs, which are uncorrelated at any width
        outputs/dependence_rejected  share of inputs at which Spearman's test of |f_1|, |f_2| rejects, with
                                     Holm's correction
        quantile/Z                   quantile of f/√NNGP(x,x) at probability Φ(Z), for a Q–Q plot

    Deviations fall as 1/n. A test with M initialisations detects an excess kurtosis of about 25/√M or more,
    so the grid should include narrow networks, for which it must reject.

    Args:
        initialisations: number M of networks.
        samples: number of training samples at which outputs are computed; all if there are fewer.

    Raises:
        ValueError: fewer than 100 initialisations, or no sample.
    """

    def __init__(self, initialisations: int = 4000, samples: int = 16) -> None:
        self.initialisations = count("study.initialisations", initialisations, least=100)
        self.samples = count("study.samples", samples)

    def run(self, config: Config, record: RunRecord, tracker: Tracker) -> None:
        """Draw the networks, compute their statistics, and append one row.

        Raises:
            DataError: the data are not available as configured.
            ValueError: a model without the paper's parameterisation, or a setting out of range.
            SolverFailure: the ODE could not be solved.
        """
        began = time.perf_counter()
        data, device = begin_measuring(config, record)
        model = paper_model(build_model(config, data, device), config)
        x = data.train.x[: self.samples].to(device)
        record.set_phase("infinite-width limit")
        limit = network_limit(model, x.double()).nngp.diag().cpu().numpy()
        record.set_phase("networks")
        generator = torch.Generator(device).manual_seed(config["seed"])
        blocks = list(Ensemble(model, x).sample(self.initialisations, generator))
        outputs, variances = (torch.cat(part).double().cpu().numpy() for part in zip(*blocks, strict=True))
        record.set_phase("tests")
        combinations = np.random.default_rng(config["seed"]).standard_normal((len(x), len(x)))
        first = outputs[:, :, 0]
        values = (
            mixture(variances, limit)
            | normality("output", first)
            | normality("process", first @ combinations)
            | against_limit(first, limit)
            | independence(outputs)
        )
        append_row(record, tracker, 0, values)
        extra = {**scales_summary(config, model), "cost/run_seconds": time.perf_counter() - began}
        record.write_summary(summarise(record.history()) | extra)


def mixture(variances: Floats, limit: Floats) -> dict[str, float]:
    """Deviations of the outputs' mixture of Gaussians from N(0, limit), as means over inputs.

    Args:
        variances: conditional variances of the outputs, shape (M, N).
        limit: diagonal of the NNGP kernel, shape (N,).
    """
    mean = variances.mean(0)
    distances = []
    for column, scale in zip(variances.T, limit, strict=True):
        deviations = np.sqrt(np.maximum(column, np.finfo(float).tiny) / scale)
        smooth = stats.norm.cdf(_GRID[:, None] / deviations)
        # An output with variance 0, possible for a narrow relu network, is a point mass at 0.
        law = np.where(column > 0, smooth, _GRID[:, None] >= 0).mean(1)
        distances.append(np.abs(law - stats.norm.cdf(_GRID)).max())
    return {
        "output/excess_kurtosis": float((3 * variances.var(0, ddof=1) / mean**2).mean()),
        "output/limit_distance": float(np.mean(distances)),
        "output/variance_error": float(np.abs(mean / limit - 1).mean()),
    }


def normality(name: str, samples: Floats) -> dict[str, float]:
    """Normality tests of the columns of `samples`, shape (M, T), with estimated mean and variance."""
    z = standardised(samples)
    statistics = anderson_darling(z)
    rejected = holm(anderson_darling_p(statistics)) < LEVEL
    values = {
        f"{name}/ad_ratio": float(statistics.mean()) / AD_CRITICAL,
        f"{name}/ad_rejected": float(rejected.mean()),
    }
    if name == "output":
        p = holm(lilliefors_p(kolmogorov_distances(z), len(z)))
        values["output/ks_rejected"] = float((p < LEVEL).mean())
        values["output/sample_kurtosis"] = float(stats.kurtosis(samples).mean())
    return values


def against_limit(samples: Floats, limit: Floats) -> dict[str, float]:
    """Tests of outputs, shape (M, N), against N(0, limit) without estimated parameters; their quantiles."""
    z = samples / np.sqrt(limit)
    p = holm(stats.kstwo.sf(kolmogorov_distances(z), len(z)))
    quantiles = np.quantile(z, stats.norm.cdf(QUANTILES), axis=0).mean(1)
    levels = {f"quantile/{at:+.2f}": float(value) for at, value in zip(QUANTILES, quantiles, strict=True)}
    return {"output/limit_rejected": float((p < LEVEL).mean())} | levels


def independence(outputs: Floats) -> dict[str, float]:
    """Measures of dependence between the k outputs, shape (M, N, k); empty for k = 1."""
    k = outputs.shape[2]
    if k < 2:
        return {}
    pairs = np.triu_indices(k, 1)
    plain, squared = (
        np.array([np.atleast_2d(np.corrcoef(values[:, i].T))[pairs] for i in range(values.shape[1])])
        for values in (outputs, outputs**2)
    )
    sizes = np.abs(outputs[:, :, :2])
    p = np.array([stats.spearmanr(sizes[:, i, 0], sizes[:, i, 1]).pvalue for i in range(sizes.shape[1])])
    return {
        "outputs/correlation": float(np.abs(plain).mean()),
        "outputs/square_correlation": float(squared.mean()),
        "outputs/dependence_rejected": float((holm(p) < LEVEL).mean()),
    }
