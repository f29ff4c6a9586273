"""Compose configs exactly as benchmarks/run.py does, without running anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ntkode.advice.measurements import Compose


@contextmanager
def composer(folder: Path, given: Sequence[str]) -> Iterator[Compose]:
    """A function that maps further overrides to a resolved config, including the choices by group.

    Args:
        folder: the folder of config files, conf/.
        given: overrides applied before the others.
    """
    with initialize_config_dir(str(folder), version_base="1.3"):
        yield lambda more: _composed([*given, *more])


def _composed(overrides: Sequence[str]) -> dict[str, Any]:
    config = compose("config", list(overrides), return_hydra_config=True)
    groups = config.hydra.runtime.choices.items()
    choices = {g: c for g, c in groups if not str(g).startswith("hydra/") and c is not None}
    OmegaConf.set_struct(config, False)
    config.pop("hydra")
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True)) | {"choices": choices}
