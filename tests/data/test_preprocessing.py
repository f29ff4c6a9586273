from typing import Any

import numpy as np
import pytest
import torch

from ntkode.data import DataError, DataModule, Digits, Sine
from ntkode.data.preprocessing import draw
from ntkode.data.sources import Source, Table


def source(counts: list[int], test: list[int] | None = None) -> Source:
    def table(sizes: list[int]) -> Table:
        labels = np.repeat(np.arange(len(sizes)), sizes)
        return Table(np.zeros((len(labels), 2)), labels)

    return Source("test", table(counts), None if test is None else table(test))


def ready(data: DataModule) -> DataModule:
    data.setup()
    return data


@pytest.mark.parametrize(("n_train", "n_test"), [(40, 20), (43, 27), (1, 1), (7, 3)])
@pytest.mark.parametrize("test", [None, [9, 9, 9]])
def test_class_counts_differ_by_at_most_one(n_train: int, n_test: int, test: list[int] | None) -> None:
    drawn_from = source([30, 25, 25], test)
    train, tested = draw(drawn_from, n_train, n_test, seed=0, stratify=True)
    for rows, table in ((train, drawn_from.tables[0]), (tested, drawn_from.tables[1])):
        for length in range(1, len(rows) + 1):  # every prefix is a balanced probe
            assert np.ptp(np.bincount(table.y[rows[:length]], minlength=3)) <= 1


def test_a_class_that_runs_out_gives_all_it_has() -> None:
    drawn_from = source([2, 30, 30])
    train, test = draw(drawn_from, 59, 3, seed=0, stratify=True)
    assert np.bincount(drawn_from.train.y[test]).tolist() == [1, 1, 1]
    assert np.bincount(drawn_from.train.y[train]).tolist() == [1, 29, 29]


def test_the_draw_is_nested_in_n_train() -> None:
    drawn_from = source([50, 50])
    small, test_of_small = draw(drawn_from, 20, 10, seed=0, stratify=True)
    large, test_of_large = draw(drawn_from, 60, 10, seed=0, stratify=True)
    assert test_of_small.tolist() == test_of_large.tolist()
    assert small.tolist() == large[:20].tolist()


def test_the_draw_is_not_in_the_order_of_the_source() -> None:
    rows, _ = draw(source([500, 500]), 500, 1, seed=0, stratify=True)
    # Of 500 rows out of 999, consecutive ones are neighbours in the source about once.
    assert np.sum(np.abs(np.diff(rows)) == 1) < 20


@pytest.mark.parametrize(
    ("n_train", "n_test", "test", "message", "remedy"),
    [
        (80, 30, None, "need 110 samples; test has 100", "dataset.n_train=70 dataset.n_test=30"),
        (10, 200, None, "need 210 samples; test has 100", "dataset.n_train=50 dataset.n_test=50"),
        (101, 10, [10, 10], "n_train=101, but test has 100", "dataset.n_train=100"),
        (10, 21, [10, 10], "n_test=21, but test has 20", "dataset.n_test=20"),
    ],
)
def test_more_than_there_is(
    n_train: int, n_test: int, test: list[int] | None, message: str, remedy: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        draw(source([50, 50], test), n_train, n_test, seed=0, stratify=True)
    assert caught.value.remedy == remedy


@pytest.mark.parametrize(("norm", "length"), [("sqrt_d", 8.0), ("unit", 1.0)])
def test_row_norms(common: dict[str, Any], norm: str, length: float) -> None:
    data = ready(Digits(**common, norm=norm, dtype="float64"))
    for split in (data.train, data.test):
        # One division and one multiplication: a few rounding errors of 2e-16 each.
        torch.testing.assert_close(
            split.x.norm(dim=1), torch.full((len(split),), length).double(), rtol=1e-14, atol=0
        )


def test_features_are_centred_by_their_training_mean(common: dict[str, Any]) -> None:
    centred = ready(Digits(**common, norm=None, dtype="float64"))
    raw = ready(Digits(**common, norm=None, center=False, dtype="float64"))
    mean = raw.train.x.mean(dim=0)
    assert mean.abs().max() > 0.1
    # Sums of 60 numbers of size 1 in float64.
    torch.testing.assert_close(centred.train.x.mean(dim=0), torch.zeros(64).double(), rtol=0, atol=1e-14)
    torch.testing.assert_close(centred.train.x, raw.train.x - mean, rtol=0, atol=1e-14)
    torch.testing.assert_close(centred.test.x, raw.test.x - mean, rtol=0, atol=1e-14)


def test_scaling_keeps_the_direction_of_the_centred_rows(common: dict[str, Any]) -> None:
    centred = ready(Digits(**common, norm=None, dtype="float64")).train.x
    scaled = ready(Digits(**common, dtype="float64")).train.x
    cosine = torch.nn.functional.cosine_similarity(centred, scaled)
    torch.testing.assert_close(cosine, torch.ones(60).double(), rtol=1e-14, atol=0)


def test_one_hot_targets(common: dict[str, Any]) -> None:
    plain, centred = (ready(Digits(**common, targets=targets)) for targets in ("one_hot", "one_hot_centered"))
    assert plain.train.labels is not None
    assert torch.equal(plain.train.y, torch.nn.functional.one_hot(plain.train.labels, 10).float())
    torch.testing.assert_close(centred.train.y, plain.train.y - 0.1)
    # Each row sums to zero, to float32's rounding of ten numbers below 1.
    torch.testing.assert_close(centred.test.y.sum(dim=1), torch.zeros(40), rtol=0, atol=1e-6)


def test_centred_real_targets(common: dict[str, Any]) -> None:
    keys = common | {"dtype": "float64", "noise": 1.0}
    raw, centred = (ready(Sine(**keys, targets=targets)) for targets in ("raw", "centered"))
    mean = raw.train.y.mean()
    assert mean.abs() > 1e-3
    torch.testing.assert_close(centred.test.y, raw.test.y - mean, rtol=0, atol=1e-14)


def test_standardised_real_targets(common: dict[str, Any]) -> None:
    keys = common | {"dtype": "float64", "noise": 1.0}
    raw, data = (ready(Sine(**keys, targets=targets)) for targets in ("raw", "standardized"))
    y = data.train.y
    # Sums of 60 numbers of size 1 in float64.
    assert abs(float(y.mean())) < 1e-14
    assert float(y.std(correction=0)) == pytest.approx(1, rel=1e-14)
    for prepared in (raw, data):
        units = prepared.description
        back = units["target_shift"][0] + units["target_scale"][0] * prepared.test.y
        torch.testing.assert_close(back, raw.test.y, rtol=1e-13, atol=1e-14)


def test_targets_that_do_not_vary_cannot_be_standardised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Three, "rows", ([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [[2.0, 2.0]]))
    with pytest.raises(DataError, match=r"all training targets are 1\.0") as caught:
        Three(center=False, targets="standardized").setup()
    assert "dataset.targets=centered" in caught.value.remedy


class Three(DataModule):
    """Three training rows and one test row, as given."""

    name, licence, citation = "three", "none", "none"
    rows = ([[1.0, 0.0], [0.0, 1.0], [0.1, 0.3]], [[2.0, 2.0]])

    def __init__(self, **keys: Any) -> None:
        super().__init__(**({"n_train": 3, "n_test": 1, "seed": 0, "steps": 1, "targets": "raw"} | keys))

    def read(self) -> Source:
        train, test = (np.array(rows) for rows in self.rows)
        return Source("here", Table(train, train[:, :1]), Table(test, test[:, :1]))


@pytest.mark.parametrize(
    ("rows", "center", "message"),
    [
        (
            ([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], [[2.0, 2.0]]),
            False,
            r"training sample \d \(row 1 of the source\)",
        ),
        # The mean of the training rows is (0.1, 0.7 / 3), rounded: the second row is zero up to rounding.
        (
            ([[0.0, 0.1], [0.1, 0.7 / 3], [0.2, 1.1 / 3]], [[2.0, 2.0]]),
            True,
            r"training sample \d \(row 1 of",
        ),
        (
            ([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]], [[0.0, 0.0]]),
            False,
            r"test sample 0 \(row 0 of the source\)",
        ),
    ],
)
def test_a_zero_row_cannot_be_scaled(
    monkeypatch: pytest.MonkeyPatch, rows: Any, center: bool, message: str
) -> None:
    monkeypatch.setattr(Three, "rows", rows)
    with pytest.raises(DataError, match=message) as caught:
        Three(center=center).setup()
    assert "dataset.norm=null" in caught.value.remedy
    Three(center=center, norm=None).setup()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite(monkeypatch: pytest.MonkeyPatch, bad: float) -> None:
    monkeypatch.setattr(Three, "rows", ([[1.0, 0.0], [0.0, bad], [1.0, 1.0]], [[2.0, 2.0]]))
    with pytest.raises(DataError, match=f"feature of here is {bad} at row 1, column 1"):
        Three().setup()
    monkeypatch.setattr(Three, "rows", ([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[bad, 2.0]]))
    with pytest.raises(DataError, match=f"is {bad} at row 0, column 0"):
        Three().setup()


def test_labels_that_are_no_class(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: Three) -> Source:
        table = Table(np.eye(4), np.array([0, 1, 2, -1]))
        return Source("here", table, table)

    monkeypatch.setattr(Three, "read", read)
    monkeypatch.setattr(Three, "task", "regression")
    monkeypatch.setattr(Three, "classes", 3)
    with pytest.raises(DataError, match="labels of here run from -1 to 2, where 0 to 2 are expected"):
        Three().setup()
