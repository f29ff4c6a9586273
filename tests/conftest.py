"""Shared by the tests: benchmarks/run.py as a module, and configs composed as it composes them."""

import importlib.util
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def entry():
    """benchmarks/run.py as a module, with its resolvers registered."""
    spec = importlib.util.spec_from_file_location("ntkode_entry", ROOT / "benchmarks" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.register_resolvers()
    return module


@pytest.fixture(scope="session")
def composed(entry):
    """The resolved config of a job with these overrides, as `run_job` takes it."""

    @cache
    def call(*overrides):
        with initialize_config_dir(str(entry.CONF), version_base="1.3"):
            config = compose("config", overrides=list(overrides), return_hydra_config=True)
        groups = config.hydra.runtime.choices.items()
        choices = {g: c for g, c in groups if not g.startswith("hydra/") and c is not None}
        with open_dict(config):
            config.pop("hydra")
        return OmegaConf.to_container(config, resolve=True) | {"choices": choices}

    return call
