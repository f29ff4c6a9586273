"""Predictions under the infinite-width kernel, against gradient descent taken step by step."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from ntkode import activations
from ntkode.advice.prediction import (
    FOLDS,
    Candidate,
    Prediction,
    Problem,
    Refused,
    fewest_steps,
    paired_noise,
    predict,
    rank,
)
from ntkode.data import Digits, Sine
from ntkode.ntk import infinite_width_kernels

TANH = Candidate(activations.get("tanh"), 1.0)


@pytest.fixture(scope="module")
def digits():
    data = Digits(n_train=60, n_test=50, seed=0, steps=1)
    data.setup()
    return Problem.of(data.train, data.description["train_indices"], 60)


@pytest.fixture(scope="module")
def sine():
    data = Sine(n_train=40, n_test=20, seed=0, steps=1, center=False, norm=None, targets="raw")
    data.setup()
    return Problem.of(data.train, data.description["train_indices"], 30)


@pytest.mark.parametrize("name", ["digits", "sine"])
def test_held_out_errors_are_those_of_gradient_descent_step_by_step(name, request):
    problem = request.getfixturevalue(name)
    prediction = predict(problem, TANH, [7])
    kernel = infinite_width_kernels(problem.x, activation="tanh", tolerance=1e-6).ntk
    outputs = torch.zeros_like(problem.y)
    for held, kept in problem.folds:
        square, cross = kernel[np.ix_(kept, kept)], kernel[np.ix_(held, kept)]
        rate = 1 / torch.linalg.eigvalsh(square)[-1]
        residual = problem.y[kept].clone()
        for _ in range(7):
            outputs[held] += rate * cross @ residual
            residual = residual - rate * square @ residual
    loss = 0.5 * (outputs - problem.y).square().sum(1)
    # `learned` divides by eigenvalues down to N·ε·λ_max: rounding of 1e-16 over small ones differs.
    assert prediction.losses[7] == pytest.approx(float(loss.mean()), rel=1e-6)
    wrong = loss if problem.labels is None else (outputs.argmax(1) != problem.labels).double()
    assert prediction.error(7) == pytest.approx(float(wrong.mean()), rel=1e-6)
    residual = problem.y - 0.0
    rate = 1 / torch.linalg.eigvalsh(kernel)[-1]
    for _ in range(7):
        residual = residual - rate * kernel @ residual
    ratio = float(residual.square().sum() / problem.y.square().sum())
    assert prediction.ratios[7] == pytest.approx(ratio, rel=1e-9)


def test_every_sample_is_held_out_once_and_classes_are_shared(digits):
    assert sorted(np.concatenate([held for held, _ in digits.folds])) == list(range(60))
    assert len(digits.folds) == FOLDS
    for held, kept in digits.folds:  # six of each of ten classes, over five folds
        assert np.bincount(digits.labels[held], minlength=10).max() <= 2
        assert sorted([*held, *kept]) == list(range(60))


def test_folds_of_a_regression_are_runs_of_neighbouring_rows():
    data = Sine(n_train=40, n_test=20, seed=0, steps=1, center=False, norm=None, targets="raw")
    data.setup()
    rows = np.random.default_rng(0).permutation(1000)[:40]
    problem = Problem.of(data.train, rows, 40)
    spans = sorted((rows[held].min(), rows[held].max()) for held, _ in problem.folds)
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    assert all(len(held) + len(kept) == 40 for held, kept in problem.folds)


def test_windows_that_overlap_a_held_out_one_are_not_trained_on():
    data = Sine(n_train=40, n_test=20, seed=0, steps=1, center=False, norm=None, targets="raw")
    data.setup()
    rows = np.random.default_rng(0).permutation(40)
    problem = Problem.of(data.train, rows, 40, apart=3)
    for held, kept in problem.folds:
        assert abs(rows[held][:, None] - rows[kept][None, :]).min() == 3
        assert len(kept) in (32 - 2, 32 - 4)  # two rows on one side, or on both


def test_one_more_wrong_sample_is_a_tie_despite_rounding(digits):
    template = predict(digits, TANH, [5])
    for n in range(1, 60, 7):
        fewer = [1.0] * n + [0.0] * (60 - n)
        more = [1.0] * (n + 1) + [0.0] * (59 - n)
        predictions = [
            made(digits, "relu", fewer, template=template),
            made(digits, "tanh", more, template=template),
        ]
        assert rank(digits, predictions, 5, [5], lambda _: 0)[0].prediction.candidate == TANH


def test_a_limit_that_blows_up_is_refused_with_the_reason(digits):
    outcome = predict(digits, Candidate(activations.get("quadratic"), 2.0), [5])
    assert isinstance(outcome, Refused)
    assert "blows up" in outcome.reason


def test_a_rank_deficient_kernel_is_below_its_resolution(sine, digits):
    linear = predict(sine, Candidate(activations.get("identity"), 1.0), [5])
    assert linear.spectrum.below_resolution  # of rank 2, the number of features
    assert not predict(digits, Candidate(activations.get("relu"), 1.0), [5]).spectrum.below_resolution


def test_too_few_samples_are_refused_with_a_remedy():
    data = Digits(n_train=10, n_test=50, seed=0, steps=1)
    data.setup()
    with pytest.raises(ValueError, match=r"rows=9 is too few .* advice needs at least 10"):
        Problem.of(data.train, range(10), 9)


def made(problem, name, errors, loss=1.0, template=None):
    template = template or predict(problem, TANH, [5])
    return replace(
        template,
        candidate=Candidate(activations.get(name), 1.0),
        errors={5: torch.tensor(errors, dtype=torch.float64)},
        losses={5: loss},
    )


def test_the_order_is_noise_then_smoothness_then_width_then_loss(digits):
    template = predict(digits, TANH, [5])
    few, many = [0.0] * 59 + [1.0], [0.0] * 30 + [1.0] * 30
    predictions = [
        made(digits, "relu", [0.0] * 60, template=template),  # the least error
        made(digits, "gelu", few, loss=0.5, template=template),  # within noise of it, and smooth
        made(digits, "tanh", few, loss=0.6, template=template),  # also within noise, and narrower
        made(digits, "sin", few, loss=0.4, template=template),  # as wide as gelu, with less loss
        made(digits, "softplus", many, template=template),  # worse beyond noise, however smooth
    ]
    widths = {"gelu": 512, "sin": 512, "tanh": 256, "relu": 64, "softplus": 64}
    order = rank(digits, predictions, 5, [5], lambda c: widths[c.activation.name])
    names = [r.prediction.candidate.activation.name for r in order]
    assert names == ["tanh", "sin", "gelu", "relu", "softplus"]
    assert [r.tied for r in order] == [True, True, True, True, False]


def test_noise_is_the_larger_of_samples_and_folds(digits):
    template = predict(digits, TANH, [5])
    whole_fold = np.zeros(60)
    whole_fold[digits.folds[0][0]] = 1.0  # one fold differs: neighbours are not independent samples
    one = made(digits, "gelu", whole_fold.tolist(), template=template)
    other = made(digits, "tanh", [0.0] * 60, template=template)
    by_folds = np.std([1, 0, 0, 0, 0], ddof=1) / math.sqrt(5)
    assert paired_noise(digits, one, 5, other, 5) == pytest.approx(by_folds)
    assert by_folds > whole_fold.std(ddof=1) / math.sqrt(60)


def test_the_fewest_steps_within_noise_are_taken(digits):
    template = predict(digits, TANH, [5])
    better, worse = [0.0] * 60, [0.0] * 30 + [1.0] * 30
    errors = {k: torch.tensor(e, dtype=torch.float64) for k, e in ((10, worse), (20, better), (40, better))}
    losses = {10: 1.0, 20: 1.0, 40: 1.0}
    prediction = Prediction(TANH, errors, losses, {}, template.spectrum, template.limit)
    assert fewest_steps(digits, [prediction], [10, 20, 40]) == 20
    assert fewest_steps(digits, [prediction], [10]) == 10


def test_a_candidate_is_compared_with_the_best_over_all_steps(digits):
    """One standard error decides steps and candidate together, not once for each."""
    template = predict(digits, TANH, [5])
    tanh, relu = (np.zeros((2, 60)) for _ in range(2))
    relu[1, digits.folds[0][0][:3]] = 1.0  # the best of all
    relu[0, digits.folds[1][0][:4]] = 1.0  # other samples, one more of them: within noise of the best
    tanh[0] = relu[1]  # the same and one more in every fold: beyond noise of the best
    for fold, _ in digits.folds:
        tanh[0, fold[-1]] = 1.0
        tanh[1, fold[:6]] = 1.0
    predictions = [
        Prediction(
            Candidate(activations.get(name), 1.0),
            {k: torch.tensor(e) for k, e in zip((10, 20), errors, strict=True)},
            {10: 1.0, 20: 1.0},
            {},
            template.spectrum,
            template.limit,
        )
        for name, errors in (("tanh", tanh), ("relu", relu))
    ]
    ranked = rank(digits, predictions, 10, [10, 20], lambda _: 0)
    tied = {r.prediction.candidate.activation.name: r.tied for r in ranked}
    assert tied == {"tanh": False, "relu": True}
    assert ranked[0].prediction.candidate.activation.name == "relu"
