"""Claims of the paper's training studies on made-up runs: verdicts follow the numbers; failures count."""

import numpy as np
import pandas as pd
import pytest

from ntkode.report.tables.comparison import Column
from ntkode.report.tables.medians import medians
from ntkode.report.training import activation, activation_gradient, activation_polynomial, datasets, horizon
from ntkode.report.training import width as training_width
from ntkode.report.training.claims import EXCESS, SHARE, with_ratios

SEEDS = (0, 1, 2)
FACTORS = (0.95, 1.0, 1.07)  # the factor of each seed


def run(seed, status="done", *, choices=None, **values):
    choice_columns = {f"config.choices.{group}": choice for group, choice in (choices or {}).items()}
    name = "-".join(map(str, [*choice_columns.values(), *values.values(), seed]))
    return (
        {"run_id": name, "status": status, "message": "", "remedy": "", "config.seed": seed}
        | choice_columns
        | values
    )


def judged(study, runs):
    return {judgement.claim.name: judgement for judgement in study.claims(runs).judge(runs)}


def verdicts(study, runs):
    return {name: str(judgement.verdict) for name, judgement in judged(study, runs).items()}


# ---------------------------------------------------------------- widths


def widths(drift=-0.8, rate=0.01, end=0.09, status="done"):
    rows, history = [], []
    for width in (64, 128, 256):
        for seed, factor in zip(SEEDS, FACTORS, strict=True):
            row = run(
                seed,
                status if width == 64 and seed == 0 else "done",
                choices={"activation": "tanh"},
                **{
                    "config.model.width": width,
                    "loss/decay_rate": rate * factor,
                    "loss/guaranteed_rate": 1e-3,
                    "ntk/lambda_min.first": 0.1,
                    "ntk/lambda_min.min": min(0.1, end * factor),
                    "ntk/resolution.max": 1e-10,
                    "ntk/drift": width ** (drift * factor),
                    "params/distance": width ** (-0.5 * factor),
                    "loss/prediction_gap": width**-factor,
                    "loss/test": 0.2 * factor,
                },
            )
            rows.append(row)
            values = {0: 0.1, 50: 0.095, 100: end * factor}
            history += [
                {"run_id": row["run_id"], "step": k, "ntk/lambda_min": v, "loss/ratio": 1 / (1 + k)}
                for k, v in values.items()
            ]
    history = pd.DataFrame(history)
    return with_ratios(pd.DataFrame(rows), history), history


def test_trainings_that_support_the_theory():
    runs, _ = widths()
    assert set(verdicts(training_width, runs).values()) == {"supported"}
    by_claim = judged(training_width, runs)
    assert by_claim["tanh_lambda_min"].estimate.value == pytest.approx(np.mean([0.855, 0.9, 0.95]))
    assert by_claim["tanh_linear_convergence"].estimate.replicates == 3


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"drift": -0.1}, "tanh_drift"),
        ({"rate": 5e-4}, "tanh_linear_convergence"),
        ({"end": 0.03}, "tanh_lambda_min"),
    ],
)
def test_trainings_that_contradict_the_theory(changes, claim):
    by_claim = verdicts(training_width, widths(**changes)[0])
    assert by_claim.pop(claim) == "not supported"
    assert set(by_claim.values()) == {"supported"}


def test_a_diverged_run_makes_its_claims_inconclusive():
    by_claim = judged(training_width, widths(status="diverged")[0])
    assert by_claim["tanh_linear_convergence"].verdict == "inconclusive"
    assert "1 of 3 replicates could not be measured" in by_claim["tanh_linear_convergence"].reason
    assert by_claim["tanh_lambda_min"].verdict == "supported"  # from the widest networks, which are done


def test_the_least_lambda_min_excludes_the_start():
    """A kernel whose λ_min only grows has a share above 1."""
    runs, _ = widths(end=0.12)
    history = pd.DataFrame(
        {"run_id": name, "step": step, "ntk/lambda_min": value}
        for name in runs["run_id"]
        for step, value in ((0, 0.1), (50, 0.11), (100, 0.12))
    )
    shares = with_ratios(runs.drop(columns=[EXCESS, SHARE]), history)[SHARE]
    assert shares.tolist() == pytest.approx([1.1] * len(runs))


def test_a_lambda_min_under_its_resolution_has_no_share():
    runs, history = widths()
    runs["ntk/resolution.max"] = 0.09
    assert (with_ratios(runs, history)[SHARE].iloc[:1] == 0).all()
    runs["loss/guaranteed_rate"] = 0.0
    assert with_ratios(runs, history)[EXCESS].isna().all()


def test_the_figure_of_the_widths_has_every_panel():
    picture = training_width.figure(*widths())
    assert [len(axes.get_lines()) > 0 for axes in picture.axes] == [True] * 6
    assert [text.get_text() for text in picture.axes[3].get_legend().get_texts()] == ["−0.81 ± 0.12"]


# ---------------------------------------------------------------- activations


def activations(smooth_rate=0.02, relu_error=3e-3):
    rows = []
    for name, rate, error in (("tanh", smooth_rate, 1e-6), ("gelu", 0.03, 2e-6), ("relu", 0.01, relu_error)):
        for seed, factor in zip(SEEDS, FACTORS, strict=True):
            values = {
                "loss/decay_rate": rate * factor**2,
                activation.GRADIENT_ERROR: error * factor ** (2 if name == "relu" else 1),
            }
            rows.append(run(seed, choices={"activation": name, "match": "none"}, **values))
    for seed in SEEDS:
        rows.append(run(seed, "solver_failed", choices={"activation": "quadratic", "match": "none"}))
    return pd.DataFrame(rows)


def test_smooth_activations_are_compared_with_relu_seed_by_seed():
    # Equal factors cancel within a seed: unpaired, the ratio would scatter.
    by_claim = judged(activation, activations())
    assert by_claim["relu_gradient_error_none"].verdict == "supported"
    assert by_claim["tanh_trains_better_none"].estimate.value == pytest.approx(2.0)


def test_a_faster_relu_contradicts_that_smooth_trains_better():
    runs = activations(smooth_rate=0.005)
    runs["loss/decay_rate"] *= np.tile([1.0, 1.01, 0.99], 4) ** np.repeat([1, 2, 3, 4], 3)
    by_claim = verdicts(activation, runs)
    assert by_claim["tanh_trains_better_none"] == "not supported"
    assert by_claim["gelu_trains_better_none"] == "supported"


def test_an_activation_that_failed_is_a_row_and_a_cross():
    runs = activations()
    summary = medians(
        runs, {"config.choices.activation": "activation"}, (Column("loss/decay_rate", "rate", "r"),)
    )
    failed = summary.set_index("activation").loc["quadratic"]
    assert (failed["runs"], failed["done"], failed["ended"]) == (3, 0, "solver_failed")
    assert np.isnan(failed["rate"])
    picture = activation.figure(runs)
    assert any(text.get_text() == "×" for text in picture.axes[1].texts)


def gradients(gap):
    rows, history = [], []
    for method in ("backprop", "kink_averaged"):
        for seed, factor in zip(SEEDS, FACTORS, strict=True):
            row = run(
                seed,
                choices={"activation": "relu", "match": "none", "gradient": method},
                **{activation.GRADIENT_ERROR: factor * (3e-3 if method == "backprop" else 1e-4 * factor)},
            )
            rows.append(row)
            apart = gap * factor if method == "backprop" else 0.0
            for step, ratio in ((0, 1.0), (1, 0.5 + apart), (2, 0.1)):
                history.append(
                    {"run_id": row["run_id"], "step": step, "loss/train": 40 * ratio, "loss/ratio": ratio}
                )
    history = pd.DataFrame(history)
    return activation_gradient.with_gap(pd.DataFrame(rows), history), history


@pytest.mark.parametrize(
    ("gap", "verdict"), [(1e-4, "not supported"), (0.1, "supported"), (0.01, "inconclusive")]
)
def test_the_gradients_error_is_visible_if_loss_curves_differ(gap, verdict):
    runs, history = gradients(gap)
    by_claim = judged(activation_gradient, runs)
    assert by_claim["relu_error_shows_none"].verdict == verdict
    assert by_claim["relu_error_shows_none"].estimate.value == pytest.approx(gap, rel=0.02)
    assert by_claim["relu_gradient_error_none"].verdict == "supported"
    assert len(activation_gradient.figure(runs, history).axes) == 3


def polynomials(quadratic_lambda, sign=-1.0):
    rows = []
    for name, value, rate in (
        ("tanh", 0.01, 0.01),
        ("quadratic", quadratic_lambda, 0.02),
        ("identity", sign * 3e-12, 1e-4),
    ):
        for seed, factor in zip(SEEDS, FACTORS, strict=True):
            values = {
                "ntk/lambda_min.min": value * factor,
                "ntk/resolution.max": 1e-10,
                "loss/decay_rate": rate * factor ** (1 if name == "tanh" else 2),
                "loss/decay_rate/0-20": 0.05,
            }
            rows.append(run(seed, choices={"activation": name}, **values))
    return activation_polynomial.with_resolved(pd.DataFrame(rows))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_an_eigenvalue_within_its_resolution_counts_as_zero_of_either_sign(sign):
    runs = polynomials(0.1, sign)
    by_claim = {t.claim.name: str(t.verdict) for t in activation_polynomial.claims().judge(runs)}
    assert by_claim == {
        "nonpolynomial_suffices": "supported",
        "linear_is_singular": "supported",
        "nonpolynomial_is_necessary": "not supported",
        "polynomial_trains_worse": "not supported",
        "linear_stalls": "supported",
    }


def test_a_singular_polynomial_would_support_that_nonpolynomial_is_necessary():
    by_claim = {
        t.claim.name: str(t.verdict) for t in activation_polynomial.claims().judge(polynomials(1e-12))
    }
    assert by_claim["nonpolynomial_is_necessary"] == "supported"


# ---------------------------------------------------------------- horizons


def horizons(growth=1.0, failed=(), end="diverged"):
    rows = []
    for match in ("none", "horizon"):
        for length in (1.0, 4.0, 16.0):
            for seed, factor in zip(SEEDS, FACTORS, strict=True):
                grown = length ** (growth if match == "none" else 0.01 * factor)
                broke = (match, length, seed) in failed
                values = {
                    "config.model.horizon": length,
                    horizon.VARIANCE: factor * grown**factor,
                    "loss/decay_rate": 0.01 / grown**factor,
                    "loss/ratio": 0.1,
                    horizon.LAMBDA_MAX: 10 * grown**factor,
                }
                if broke:
                    values = {"config.model.horizon": length}
                rows.append(
                    run(
                        seed,
                        end if broke else "done",
                        choices={"activation": "relu", "match": match},
                        **values,
                    )
                )
    return pd.DataFrame(rows)


def test_outputs_that_grow_with_the_horizon_and_outputs_that_do_not():
    assert set(verdicts(horizon, horizons()).values()) == {"supported"}
    by_claim = verdicts(horizon, horizons(growth=0.02))
    assert by_claim["relu_variance_plain"] == by_claim["relu_training_plain"] == "not supported"
    assert by_claim["relu_variance_scaled"] == "supported"


def test_a_diverged_training_counts_against_stability():
    by_claim = judged(horizon, horizons(failed={("none", 16.0, 1)}))
    assert by_claim["relu_training_plain"].verdict == "supported"
    assert by_claim["relu_training_plain"].estimate.replicates == 3
    by_claim = judged(horizon, horizons(failed={("horizon", 16.0, 1)}))
    assert by_claim["relu_training_scaled"].verdict != "supported"
    assert by_claim["relu_training_scaled"].estimate.value < 0.7


def test_an_interrupted_run_is_inconclusive():
    by_claim = judged(horizon, horizons(failed={("none", 16.0, 1), ("horizon", 16.0, 1)}, end="interrupted"))
    assert {str(judgement.verdict) for judgement in by_claim.values()} == {"inconclusive"}
    assert "1 of 3 replicates could not be measured" in by_claim["relu_training_plain"].reason


def test_the_picture_of_the_horizons():
    runs = horizons(failed={("horizon", 16.0, seed) for seed in SEEDS}).drop(columns=horizon.LAMBDA_MAX)
    picture = horizon.figure(runs)
    assert [axes.get_xscale() for axes in picture.axes[:2]] == ["log", "linear"]  # λ_max was not measured
    # The scaled runs, drawn later, end at T = 4; the others do not.
    assert [tick.get_text() for tick in picture.axes[0].get_xticklabels()] == ["1", "4", "16"]


# ---------------------------------------------------------------- data sets


def test_a_data_set_without_runs_is_inconclusive_and_the_others_are_judged():
    runs, history = widths()
    there = runs[runs["config.model.width"] == 64].assign(**{"config.choices.dataset": "mnist"})
    absent = there.assign(**{"config.choices.dataset": "cifar10", "status": "error"})
    absent["run_id"] += "-absent"
    both = pd.concat([there, absent], ignore_index=True)
    by_claim = verdicts(datasets, both)
    assert by_claim == {
        "mnist_linear_convergence": "supported",
        "mnist_lambda_min": "supported",
        "cifar10_linear_convergence": "inconclusive",
        "cifar10_lambda_min": "inconclusive",
    }
    picture = datasets.figure(both, history)
    assert picture.axes[1].texts[0].get_text() == "no done run"
