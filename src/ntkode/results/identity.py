"""Ids of runs and names of sweeps: configs that give the same numbers give the same id."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ntkode.results.secrets import masked_override

NOT_IDENTIFYING = (
    # Names of YAML files, whose content is in the resolved config.
    "choices",
    # The axes that experiments may sweep; a run's config holds its values.
    "axes",
    "data_root",
    # Where results go, and how the computation is organised; no number depends on these.
    "logger",
    "hydra",
    "sweep",
    "results_dir",
    "rerun",
    "objective",
    "checkpoint",
    "timeout",
    "progress",
)
"""Top-level config keys that do not determine the numbers of a run."""

HASH_DIGITS = 10
LONGEST_RUN_ID = 100
LONGEST_SWEEP_NAME = 60


def run_id(config: Mapping[str, Any]) -> str:
    """The id of the run that `config` determines, such as `mnist-neural_ode-tanh-w256-s0-1f0c52a9be`.

    The readable prefix comes from `config["choices"]`, `config["model"]["width"]` and `config["seed"]`, if
    present. The digits are the first of the sha256 of the config without `NOT_IDENTIFYING`, as JSON with
    sorted keys: the order of keys does not matter, the type of a number does (1 is not 1.0).

    Args:
        config: the resolved config as plain dicts, lists and scalars.

    Raises:
        TypeError: a value is not plain, such as an unresolved DictConfig.
    """
    digits = id_digits(config)
    return f"{_readable_prefix(config)[: LONGEST_RUN_ID - HASH_DIGITS - 1]}-{digits}"


def id_digits(config: Mapping[str, Any]) -> str:
    """The hexadecimal digits at the end of the run's id, which depend on the config alone (see `run_id`).

    Raises:
        TypeError: a value is not plain.
    """
    identifying = {key: value for key, value in config.items() if key not in NOT_IDENTIFYING}
    try:
        canonical = json.dumps(identifying, sort_keys=True, separators=(",", ":"))
    except TypeError as error:
        raise TypeError(
            f"a run's config must hold plain values only ({error}): "
            "pass OmegaConf.to_container(config, resolve=True)"
        ) from error
    return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_DIGITS]


def sweep_name(overrides: Sequence[str]) -> str:
    """A readable name for the sweep of the `overrides` of a command line.

    The order of the overrides does not matter, and those of keys in `NOT_IDENTIFYING` (`logger=…`,
    `hydra/launcher=…`, `sweep=…`) are ignored. If none is left, the name is `default`. `=` becomes `-` and
    `,` becomes `+`, so that the name is a valid file name and a valid Hydra value. Names of more than 60
    characters are cut, and end in 8 hexadecimal digits of the sha256 of all overrides.
    """
    kept = sorted(map(masked_override, _identifying(overrides)))
    name = _file_name("_".join(kept).replace("=", "-").replace(",", "+"))
    if len(name) > LONGEST_SWEEP_NAME:
        digits = hashlib.sha256("\n".join(kept).encode()).hexdigest()[:8]
        name = f"{name[: LONGEST_SWEEP_NAME - 9].rstrip('.+_-')}-{digits}"
    return name or "default"


def job_name(overrides: Sequence[str]) -> str:
    """The overrides of a job as typed, without those of keys in `NOT_IDENTIFYING`; secrets are masked."""
    return " ".join(map(masked_override, _identifying(overrides)))


def _identifying(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if _top_level_key(override) not in NOT_IDENTIFYING]


def _readable_prefix(config: Mapping[str, Any]) -> str:
    choices = config.get("choices") or {}
    model = config.get("model") or {}
    parts = [str(choices[group]) for group in ("dataset", "model", "activation") if choices.get(group)]
    if model.get("width") is not None:
        parts.append(f"w{model['width']}")
    if config.get("seed") is not None:
        parts.append(f"s{config['seed']}")
    return _file_name("-".join(parts)) or "run"


def _top_level_key(override: str) -> str:
    """The first part of an override's key: `hydra` for `hydra/launcher=joblib`, `logger` for `~logger`."""
    key = override.partition("=")[0].lstrip("+~")
    return re.split(r"[./@]", key)[0]


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip(".+_-")
