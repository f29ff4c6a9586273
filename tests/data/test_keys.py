"""Keys out of their range: the error names the value and the override."""

import pickle
from typing import Any

import pytest
import torch

from ntkode.checks import SettingError
from ntkode.data import CIFAR10, MNIST, AGNews, DailyClimate, DataError, Digits, Sine, Sphere, Spirals


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("n_train", 0, "dataset.n_train=0"),
        ("n_train", 2.5, "dataset.n_train=2.5"),
        ("n_train", True, "dataset.n_train=True"),
        ("n_test", -1, "dataset.n_test=-1"),
        ("seed", -1, "dataset.seed=-1"),
        ("seed", "abc", "dataset.seed=abc"),
        ("steps", 0, "steps=0"),
        ("batch_size", 0, "optimizer.batch_size=0"),
        ("batch_size", 61, "optimizer.batch_size=61 is not a whole number from 1 to 60"),
        ("dtype", "float16", "dtype=float16"),
        ("dtype", torch.int64, "dtype=torch.int64"),
        ("norm", "max", "dataset.norm=max"),
        ("targets", "raw", "dataset.targets=raw does not exist for classification"),
        ("resize", 0, "dataset.resize=0"),
        ("resize", 9, "dataset.resize=9 is not a whole number from 1 to 8"),
    ],
)
def test_of_every_set(common: dict[str, Any], key: str, value: Any, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        Digits(**(common | {key: value}))
    assert message in str(caught.value)
    assert caught.value.remedy in str(caught.value)
    assert key in caught.value.remedy


@pytest.mark.parametrize(
    ("kind", "key", "value", "message"),
    [
        (MNIST, "source", "web", "dataset.source=web"),
        (CIFAR10, "resize", 33, "dataset.resize=33 is not a whole number from 1 to 32"),
        (AGNews, "components", 0, "dataset.components=0"),
        (AGNews, "components", 61, "dataset.components=61 exceeds the 60 training documents"),
        (DailyClimate, "window", 0, "dataset.window=0"),
        (DailyClimate, "targets", "one_hot", "dataset.targets=one_hot does not exist for regression"),
        (Sphere, "dimension", 1, "dataset.dimension=1"),
        (Sphere, "antipodal", "yes", "dataset.antipodal=yes"),
        (Spirals, "turns", 0.0, "dataset.turns=0.0"),
        (Spirals, "noise", -0.1, "dataset.noise=-0.1"),
        (Sine, "frequency", float("nan"), "dataset.frequency=nan"),
        (Sine, "noise", float("inf"), "dataset.noise=inf"),
        (Sine, "targets", "one_hot", "dataset.targets=one_hot does not exist for regression"),
    ],
)
def test_of_one_set(common: dict[str, Any], kind: Any, key: str, value: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        kind(**(common | {key: value}))


def test_torch_dtypes_are_accepted(common: dict[str, Any]) -> None:
    assert Digits(**common, dtype=torch.float64).dtype is Digits(**common, dtype="float64").dtype


@pytest.mark.parametrize("kind", [DataError, SettingError])
def test_the_error_survives_pickling(kind: type[SettingError]) -> None:
    error = pickle.loads(pickle.dumps(kind("x=1 is bad", "x=2")))
    assert type(error) is kind
    assert (str(error), error.remedy) == ("x=1 is bad. Try: x=2", "x=2")
