"""Tests that every data set of conf/dataset satisfies the interface."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ntkode.data import DataModule

FOLDER = Path(__file__).parents[2] / "conf" / "dataset"
# A file without a target is a variant of another (mnist_7x7 of mnist); tests/test_conf.py composes them.
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml") if "_target_" in path.read_text())


Make = Callable[..., DataModule]


@pytest.fixture
def from_config(entry: Any, hub_folders: dict[str, Path]) -> Make:
    """Function that makes a data set from its config, with small splits and local files for the hub."""

    def make(name: str, **overrides: Any) -> DataModule:
        top = {
            "seed": 3,
            "dtype": "float64",
            "steps": 5,
            "n_train": 60,
            "n_test": 40,
            "data_root": None,
            "optimizer": {"batch_size": None},
        }
        config = OmegaConf.create(top | {"dataset": OmegaConf.load(FOLDER / f"{name}.yaml")})
        sizes = {"n_train": 60, "n_test": 40}  # a small data set fixes its own in the YAML
        config.dataset.update(sizes | folder_of(name, hub_folders) | overrides)
        return instantiate(config.dataset)

    return make


def folder_of(name: str, hub_folders: dict[str, Path]) -> dict[str, str]:
    return {"data_dir": str(hub_folders[name])} if name in hub_folders else {}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_all_data_sets_have_a_config() -> None:
    expected = {"mnist", "digits", "sphere", "spirals", "sine", "cifar10", "ag_news", "daily_climate"}
    assert expected <= set(NAMES)


def test_sizes_types_and_features(name: str, from_config: Make) -> None:
    data = from_config(name)
    data.setup()
    for split, n in ((data.train, 60), (data.test, 40)):
        assert len(split) == n
        assert split.x.shape == (n, data.in_features)
        assert split.y.shape == (n, data.out_features)
        assert split.x.dtype == split.y.dtype == torch.float64
        assert split.x.is_contiguous()
        assert torch.isfinite(split.x).all()
        assert (split.labels is None) == (data.task == "regression")


def test_float32_is_the_rounded_float64(name: str, from_config: Make) -> None:
    single, double = from_config(name, dtype="float32"), from_config(name)
    single.setup()
    double.setup()
    assert single.train.x.dtype == torch.float32
    torch.testing.assert_close(single.train.x, double.train.x.float(), rtol=0, atol=0)


def test_the_splits_share_no_sample(name: str, from_config: Make) -> None:
    data = from_config(name)
    data.setup()
    train, test = data.description["train_indices"], data.description["test_indices"]
    assert len(set(train)) == 60
    assert len(set(test)) == 40
    if data.description["shared_table"]:
        assert not set(train) & set(test)
    rows = torch.cat([data.train.x, data.test.x])
    assert len(torch.unique(rows, dim=0)) == 100


def test_one_seed_one_data_set(name: str, from_config: Make) -> None:
    first, again, other = from_config(name), from_config(name), from_config(name, seed=4)
    for data in (first, again, other):
        data.setup()
    assert torch.equal(first.train.x, again.train.x)
    assert torch.equal(first.test.y, again.test.y)
    assert first.description == again.description
    assert not torch.equal(first.train.x, other.train.x)


def test_global_random_states_are_left_alone(name: str, from_config: Make) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    before = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    data = from_config(name, batch_size=7)
    data.setup()
    list(data.train_dataloader())
    list(data.test_dataloader())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


def test_a_second_setup_does_nothing(name: str, from_config: Make) -> None:
    data = from_config(name)
    data.setup("fit")
    train = data.train
    data.setup("test")
    assert data.train is train


def test_use_before_setup_is_an_error(name: str, from_config: Make) -> None:
    data = from_config(name)
    for attribute in ("train", "test", "in_features", "out_features", "description"):
        with pytest.raises(RuntimeError, match=r"call setup\(\) first"):
            getattr(data, attribute)


def test_the_description_is_json_and_complete(name: str, from_config: Make) -> None:
    data = from_config(name)
    data.setup()
    held = json.loads(json.dumps(data.description))
    assert held == data.description
    assert held["name"] == name
    assert len(held["sha256"]) == 64
    assert held["source"].split(":")[0] in ("embedded", "generated", "directory")
    assert held["duplicates"]["pairs"] == held["antipodal_pairs"]["pairs"] == 0
    assert held["licence"]
    assert held["citation"]


def test_the_digest_is_of_the_source_not_of_the_draw(from_config: Make) -> None:
    digests = set()
    for n_train in (30, 60):
        data = from_config("digits", n_train=n_train)
        data.setup()
        digests.add(data.description["sha256"])
    assert len(digests) == 1


def test_the_config_states_the_defaults_of_the_class(
    name: str, from_config: Make, hub_folders: dict[str, Path]
) -> None:
    config = OmegaConf.load(FOLDER / f"{name}.yaml")
    bare = {"_target_": config._target_, "n_train": 60, "n_test": 40, "seed": 3, "steps": 5}
    bare |= folder_of(name, hub_folders)
    data, configured = instantiate(bare), from_config(name, dtype="float32")
    data.setup()
    configured.setup()
    assert data.description == configured.description


def test_every_config_begins_with_a_line_for_the_help(name: str) -> None:
    first = (FOLDER / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# ")
    assert len(first) < 110
